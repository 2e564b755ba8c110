//! What a caller asks of listen and connect.

/// How a socket is to be made.
#[derive(Clone, Copy)]
pub struct How {
    /// Do not wait.
    pub dontwait: bool,
    /// A signal ends a wait.
    pub intr: bool,
    /// A socket file that nobody is bound to is replaced.
    pub replace: bool,
    /// What is received tells who sent it.
    pub creds: bool,
    pub pidfd: bool,
    /// Descriptors are received.
    pub rights: bool,
}
