//! HTTP clients: requests with idempotency keys, retried until answered.

use super::*;

impl World {
    pub(super) fn issue(&mut self, hub: usize, commands: Vec<Vec<Bytes>>, entries: Vec<Entry>) {
        let id = self.fresh_id();
        self.https.insert(id, Http { hub, commands, entries, attempts: 0, is_done: false });
        self.after(1, 20, Event::HttpSend(id));
    }

    pub(super) fn http_send(&mut self, id: u64) {
        let request = self.fresh_id();
        let Some(http) = self.https.get_mut(&id) else { return };
        if http.is_done {
            return;
        }
        http.attempts += 1;
        let hub = http.hub;
        let commands = http.commands.clone();
        let idempotency = Some(Bytes::from(format!("request-{id}")));
        self.requests.insert(request, id);
        self.note(|| format!("http {id} at hub {hub}: {commands:?}"));
        self.after(6_000, 2_000, Event::HttpSend(id));
        if !self.chance(20) {
            self.hub_input(hub, HubInput::Commands { request: Request(request), commands, idempotency });
        }
    }

    pub(super) fn http_reply(&mut self, request: u64, replies: &[Result<Reply, CommandError>]) {
        let Some(id) = self.requests.remove(&request) else { return };
        self.note(|| format!("http {id} answered {replies:?}"));
        if self.chance(20) {
            return;
        }
        let Some(http) = self.https.get_mut(&id) else { return };
        if http.is_done {
            return;
        }
        if !self.is_rough
            && replies.iter().any(|reply| matches!(reply, Err(CommandError::NotHeld)))
            && http.entries.len() == 1
            && matches!(http.entries[0], Entry::Nothing)
        {
            // Asked in the calm to make the hub hold the key: until it does.
            let renamed = self.https.remove(&id);
            if let Some(http) = renamed {
                self.issue(http.hub, http.commands, http.entries);
            }
            return;
        }
        http.is_done = true;
        let entries = std::mem::take(&mut http.entries);
        let mut seen = None;
        let reads = replies.len() - entries.len();
        for (at, reply) in replies.iter().enumerate() {
            if at < reads {
                seen = reply.as_ref().ok();
                continue;
            }
            match reply {
                Ok(_) => self.ledger.book(entries[at - reads].clone(), seen),
                Err(CommandError::NotHeld) => {}
                Err(error) => self.violations.push(format!("{:?} answers {error}", entries[at - reads])),
            }
        }
    }
}
