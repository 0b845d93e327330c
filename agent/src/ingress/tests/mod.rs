mod limits;
mod routing;
mod tls;
mod world;
