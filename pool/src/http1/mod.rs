//! HTTP/1.1 of the data port.
