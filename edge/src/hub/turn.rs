//! Events that arrive together are handled together.
//!
//! The runtime commits an object's writes when the event that made them yields; one commit per event costs a sync of the
//! disk each. So an event first waits for the next turn of the event loop, and with it all those that arrive meanwhile, in
//! their order; then they run one after the other without yielding and share one commit. None is answered before that. An
//! event that comes alone waits no more than a zero timer takes.

use crate::timeout::Timer;
use futures_channel::oneshot;
use std::{cell::RefCell, rc::Rc};
use worker::State;

/// The events of one object that wait for the next turn.
#[derive(Default)]
pub(super) struct Turn {
    waiting: Rc<RefCell<Vec<oneshot::Sender<()>>>>,
}

impl Turn {
    /// Returns in the next turn, after those who asked before and before those who ask later.
    pub(super) async fn comes(&self, state: &State) {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push(sender);
        if self.waiting.borrow().len() == 1 {
            let waiting = Rc::clone(&self.waiting);
            state.wait_until(async move {
                Timer::start(0).rings().await;
                for sender in waiting.take() {
                    // Whoever waited may have been cancelled.
                    let _gone = sender.send(());
                }
            });
        }
        // The sender is dropped only with the object.
        let _woken = receiver.await;
    }
}
