//! Receiving: the usual message, which takes one system call, and the pieces of a stream.

use super::carrier::{Arrival, Carrier};
use super::control;
use super::lossless;
use super::patience::Patience;
use super::receive::{Received, Receiver};
use super::sender;
use crate::sys::{Errno, How, Readiness, Result};

impl Receiver<'_> {
    /// Receives one message; with WAITALL on a stream, pieces until the payload is whole.
    ///
    /// Mostly one system call brings bytes, and descriptors that fit, and nothing else.
    #[inline(always)]
    pub fn receive(mut self) -> Result<Received> {
        if !self.flags.single() || !self.payload.is_plain() {
            return self.receive_any();
        }
        let mut carrier = <Carrier>::new();
        let (how, room) = (self.flags.how(), control::room(self.slots.room()));
        let (window, flags) = (self.payload.whole(), how | self.flags.cloexec());
        let outcome = carrier.receive(self.sock, &mut self.name, window, room, flags);
        if let Ok(came) = &outcome {
            if let Some(received) = self.take_usual(came) {
                return Ok(received);
            }
        }
        self.settle(outcome)
    }

    /// Sorts what came of the only system call; one that failed is made again if that is due.
    #[cold]
    #[inline(never)]
    fn settle(mut self, outcome: Result<Arrival>) -> Result<Received> {
        let received = match outcome {
            Ok(came) => self.take(&came),
            Err(error) => {
                let mut patience = Patience::new(self.sock, self.flags, Readiness::Receive);
                let how = patience.again(error, self.flags.how())?;
                self.receive_piece(&mut patience, how)?
            }
        };
        self.end(received)
    }

    /// The same, of whatever may come: in one place, for calls that are rare or seldom usual.
    #[inline(never)]
    pub fn receive_any(mut self) -> Result<Received> {
        if !self.payload.is_possible() {
            return Err(Errno::INVAL);
        }
        let mut patience = Patience::new(self.sock, self.flags, Readiness::Receive);
        let waitall = self.flags.waitall();
        let how = if waitall { patience.how() } else { self.flags.how() };
        let mut received = self.receive_piece(&mut patience, how)?;
        if waitall && received.bytes < self.payload.left() {
            self.payload.advance(received.bytes);
            self.receive_more(&mut patience, &mut received);
        }
        self.end(received)
    }

    /// Goes on until the payload is whole, or something did not fit. An error ends it as well:
    /// what is here already is not to be lost.
    fn receive_more(&mut self, patience: &mut Patience, received: &mut Received) {
        if received.bytes == 0 || !self.is_stream() {
            return;
        }
        while self.payload.left() > 0 && self.refusal(received).is_none() {
            patience.moved();
            let how = patience.how();
            let piece = match self.receive_piece(patience, how) {
                Ok(piece) => piece,
                Err(_) => return,
            };
            // The end has no sender: what came before it keeps its own.
            if piece.bytes == 0 {
                return;
            }
            self.payload.advance(piece.bytes);
            self.add(received, &piece);
        }
    }

    /// Adds the next piece of a stream. Pieces of several senders have none in common; whether
    /// they are of one can be told from the credentials only.
    fn add(&mut self, received: &mut Received, piece: &Received) {
        received.bytes = received.bytes.saturating_add(piece.bytes);
        received.surplus |= piece.surplus;
        received.lost = received.lost.or(piece.lost);
        if received.creds.is_none() || !sender::same(&received.creds, &piece.creds) {
            received.creds = None;
            self.slots.give_up_pidfd();
        }
    }

    /// One message, or a piece of one.
    #[inline(always)]
    pub fn receive_piece(&mut self, patience: &mut Patience, how: How) -> Result<Received> {
        match self.flags.lossless() {
            true => lossless::receive_one(self, patience, how),
            false => self.receive_one(patience, how),
        }
    }
}
