//! The back end that asks an HTTP service, as RabbitMQ's `rabbit_auth_backend_http` does.

mod settings;

pub use settings::{
    HttpClientCertificate, HttpHostnameVerification, HttpMethod, HttpSettings, HttpTlsSettings, HttpTlsVersion,
    HttpVerify,
};
