//! The service that the command line tools speak to.
//!
//! `POST /control/OPERATION` takes a JSON object and answers with lines of JSON: `{"row":{}}`, `{"note":""}` and `{"progress":{}}`
//! as many as there are, and at the end `{"result":…}` or `{"error":{"kind":"","text":""}}`. An answer without such an end was cut off.
//! Who comes over the socket in the data folder may do everything; its file's permissions are the key. Others log in.

mod call;
mod failure;
mod gate;
mod operations;
mod service;

pub use call::{Call, Progress};
pub use failure::{Failure, Kind};
pub use gate::Gate;
pub use operations::Operation;
pub use service::{Control, Lines, serve};
