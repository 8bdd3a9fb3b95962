//! One stream of a transfer that the pool makes by itself: the connection it uses now, in the transfer's record.
//!
//! A stream may change its connection (redirects, retries); each is shown with its real addresses. What holds the
//! stream back is counted for the connection that it uses.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use super::lifecycle::Transfer;
use super::link::{ConnectionInfo, Limit, Link, TcpInfo};
use super::request::Kind;
use super::state::State;
use crate::marking::{Flow, Supplier};
use crate::tls::Wire;

/// One stream.
pub struct Strand {
    transfer: Arc<Transfer>,
    link: RefCell<Option<Arc<Link>>>,
    /// What the connection is marked as.
    flow: RefCell<Option<Flow>>,
}

impl Strand {
    /// On no connection yet.
    pub fn new(transfer: &Arc<Transfer>) -> Strand {
        Strand { transfer: Arc::clone(transfer), link: RefCell::default(), flow: RefCell::default() }
    }

    /// From now on the stream uses this connection.
    pub fn attach(&self, connection: &Wire) {
        let (tcp, tls) = (connection.tcp(), connection.tls().is_some());
        let flow_label = tcp.flow_label();
        let info = ConnectionInfo { local: connection.local(), remote: connection.peer(), tls, flow_label };
        if self.link.borrow().as_ref().is_some_and(|link| *link.info() == info) {
            return;
        }
        self.detach();
        let link = self.transfer.progress().link(info);
        if matches!(self.transfer.state(), State::Running { .. } | State::Finishing { .. }) {
            // Before the start all time counts as the other side's anyway.
            link.enter(Limit::Source, self.transfer.now());
        }
        *self.link.borrow_mut() = Some(link);
        if let Some(mark) = self.transfer.mark() {
            let supplier = match self.transfer.request().kind {
                // A local copy has no connection to mark.
                Kind::Get(_) | Kind::Push(_) | Kind::LocalCopy(_) => Supplier::Here,
                Kind::Put(_) | Kind::Pull(_) => Supplier::There,
            };
            *self.flow.borrow_mut() = Some(Flow::new(mark, tcp, supplier));
        }
    }

    /// The stream has all its bytes; its connection may serve others next.
    pub fn end_flow(&self) {
        if let Some(flow) = self.flow.take() {
            flow.end_as_noted();
        }
    }

    /// Bytes of the body move: a connection that only brought a redirect or a checksum is none of the transfer's flows.
    fn begin_flow(&self) {
        if let Some(flow) = &*self.flow.borrow() {
            flow.begin(Instant::now());
        }
    }

    /// The stream uses no connection now.
    pub fn detach(&self) {
        self.end_flow();
        if let Some(link) = self.link.borrow_mut().take() {
            link.rest(self.transfer.now());
        }
    }

    /// From now on this holds the stream back.
    pub fn enter(&self, limit: Limit) {
        if let Some(link) = &*self.link.borrow() {
            link.enter(limit, self.transfer.now());
        }
    }

    /// Counts body bytes that came in.
    pub fn received(&self, bytes: u64) {
        self.begin_flow();
        if let Some(link) = &*self.link.borrow() {
            link.received(bytes);
        }
    }

    /// Counts body bytes that went out.
    pub fn sent(&self, bytes: u64) {
        self.begin_flow();
        if let Some(link) = &*self.link.borrow() {
            link.sent(bytes);
        }
    }

    /// Keeps what the kernel knows of the connection in the transfer's record.
    pub fn note_tcp(&self, connection: &Wire) {
        if let Some(flow) = &*self.flow.borrow() {
            flow.note();
        }
        if let (Some(link), Some(facts)) = (&*self.link.borrow(), connection.tcp_facts()) {
            link.set_tcp(TcpInfo {
                rtt: facts.rtt,
                retransmits: facts.retransmits,
                delivery_rate_bytes_per_second: facts.delivery_rate,
                bytes_acknowledged: facts.bytes_acknowledged,
                congestion_window_segments: facts.congestion_window,
            });
        }
    }
}

impl Drop for Strand {
    fn drop(&mut self) {
        self.detach();
    }
}
