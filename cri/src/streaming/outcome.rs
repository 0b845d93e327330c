//! How exec and attach end, as the error stream says it.

use bytes::Bytes;
use serde_json::json;

/// How they ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As they should.
    Success,
    /// The process' exit status was not 0.
    Exit(i32),
    /// There was no process, or nobody saw its end: one line.
    Failed(String),
}

impl Outcome {
    /// As a `Status` of Kubernetes' API: since version 4 of the protocol.
    pub fn status(&self) -> Bytes {
        let status = match self {
            Self::Success => json!({"metadata": {}, "status": "Success"}),
            Self::Exit(code) => json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": self.line(),
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Self::Failed(message) => json!({
                "metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500,
            }),
        };
        status.to_string().into()
    }

    /// As text, nothing where all went well: before version 4.
    pub fn line(&self) -> String {
        match self {
            Self::Success => String::new(),
            Self::Exit(code) => format!("command terminated with exit code {code}"),
            Self::Failed(message) => message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_what_clients_read() {
        let status =
            |outcome: Outcome| serde_json::from_slice::<serde_json::Value>(&outcome.status()).unwrap();
        assert_eq!(status(Outcome::Success)["status"], "Success");
        let exit = status(Outcome::Exit(3));
        assert_eq!((&exit["status"], &exit["reason"]), (&"Failure".into(), &"NonZeroExitCode".into()));
        assert_eq!(exit["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
        let failed = status(Outcome::Failed("no such file".into()));
        assert_eq!((&failed["code"], &failed["message"]), (&500.into(), &"no such file".into()));
    }
}
