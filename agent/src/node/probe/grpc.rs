//! gRPC's health checking: `grpc.health.v1.Health/Check`.

use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::{connect, one_line};

#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

pub const SERVING: i32 = 1;

/// Whether a service ("": the server) says that it serves.
pub async fn check(host: &str, port: u16, service: &str) -> Result<(), String> {
    // Said in plain words; what the transport says of it is long.
    drop(connect(host, port).await?);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let endpoint = Endpoint::from_shared(format!("http://{host}:{port}"));
    let endpoint = endpoint.and_then(|endpoint| endpoint.user_agent("kube-probe/1.37"));
    let channel = endpoint.map_err(|error| error.to_string())?.connect().await;
    let mut client = Grpc::new(channel.map_err(|error| error.to_string())?);
    client.ready().await.map_err(|error| error.to_string())?;
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = Request::new(HealthCheckRequest { service: service.into() });
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    match client.unary(request, path, codec).await {
        Ok(answer) if answer.get_ref().status == SERVING => Ok(()),
        Ok(answer) => Err(format!("service unhealthy (responded with {:?})", name(answer.get_ref().status))),
        Err(status) if status.code() == Code::Unimplemented => {
            Err("the server does not implement grpc.health.v1.Health".into())
        }
        Err(status) if status.code() == Code::NotFound => {
            Err(format!("the server knows no service {service:?}"))
        }
        Err(status) => Err(format!(
            "health check failed: {:?}: {}",
            status.code(),
            one_line(status.message().as_bytes())
        )),
    }
}

fn name(status: i32) -> &'static str {
    match status {
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}
