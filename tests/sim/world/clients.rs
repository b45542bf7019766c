//! HTTP clients: requests with idempotency keys, retried until answered.

use super::*;

impl World {
    pub(super) fn issue(&mut self, hub: usize, work: Work) {
        let id = self.fresh_id();
        self.removals.begin(&work.entry);
        self.note_asked(&work.entry);
        self.https.insert(id, Http { hub, work, asked_ms: self.now, is_done: false });
        self.after(Lane::Node(End::Hub(hub)), 1, 20, Event::HttpSend(id));
    }

    pub(super) fn http_send(&mut self, id: u64) {
        let request = self.fresh_id();
        let Some(http) = self.https.get(&id).filter(|http| !http.is_done) else { return };
        let (hub, commands) = (http.hub, http.work.commands.clone());
        let idempotency = Some(Bytes::from(format!("request-{id}")));
        self.requests.insert(request, id);
        self.after(Lane::Http(id), 6_000, 2_000, Event::HttpSend(id));
        if !self.chance(Lane::Http(id), 20) {
            self.hub_input(hub, HubInput::Commands { request: Request(request), commands, idempotency });
        }
    }

    pub(super) fn http_reply(&mut self, request: u64, replies: &[Result<Reply, CommandError>]) {
        if self.strict_reply(request, replies) {
            return;
        }
        let Some(id) = self.requests.remove(&request) else { return };
        let Some(http) = self.https.get(&id).filter(|http| !http.is_done) else { return };
        let (hub, work, asked_ms) = (http.hub, http.work.clone(), http.asked_ms);
        let is_read = matches!((&work.entry, work.commands.as_slice()), (Entry::Nothing, [one]) if is_read(one));
        let may_go_back = work.commands[0].get(1).is_some_and(|key| self.scenario.may_go_back(key));
        if is_read
            && !may_go_back
            && let Some(Ok(reply)) = replies.first()
            && let Some(back) = self.hubs[hub].reader.reply(&work.commands[0], reply, &self.removals)
        {
            self.violate(Checker::Reads, format!("hub {hub} answered {back}"));
        }
        let is_own =
            work.commands.last().is_some_and(|last| last[0].as_ref() == b"GETDEL" && last[1].starts_with(b"own"));
        if is_own && matches!(replies, [Ok(_), Ok(Reply::Nil)]) {
            self.violate(Checker::Reads, format!("hub {hub}: {work} found nothing of what was acknowledged before"));
        }
        if self.chance(Lane::Http(id), 20) {
            return;
        }
        let is_held = !replies.iter().any(|reply| matches!(reply, Err(CommandError::NotHeld)));
        if !self.is_rough && !is_held && matches!(work.entry, Entry::Nothing) {
            // Asked in the calm to make the hub hold the key: until it does.
            self.https.remove(&id);
            self.issue(hub, work);
            return;
        }
        self.finish(id);
        for (at, reply) in replies.iter().enumerate() {
            match reply {
                Ok(_) | Err(CommandError::NotHeld) => {}
                Err(CommandError::Revoked { .. }) if self.was_revoked(work.entry.key()) => {}
                // What only the origin executes says so where that is away.
                Err(CommandError::OriginAway | CommandError::OutcomeUnknown) => {}
                Err(CommandError::AtOrigin(error)) if **error == *CommandError::OriginBehind.to_string() => {}
                Err(error) => self.violate(Checker::Refusals, format!("{} answers {error} ({at})", work)),
            }
        }
        if let Some(Ok(_)) = replies.last() {
            let seen = replies.iter().rev().nth(1).and_then(|reply| reply.as_ref().ok());
            self.removals.note(&work.entry, seen);
            if let Entry::Revoke(key) = &work.entry {
                self.hubs[hub].reader.note_revoked(key);
            }
            let number = self.ledger.book(work.entry.clone(), seen, asked_ms, self.now);
            self.note_landed(hub, &work, number);
            if number.is_multiple_of(4) {
                let name = work.commands[0].get(1).and_then(|name| Key::new(name.clone()).ok());
                self.after(Lane::Http(id), 1, 20, Event::AwaitCommit(hub, name.into_iter().collect()));
            }
        }
    }

    pub(super) fn await_commit(&mut self, hub: usize, keys: Vec<Key>) {
        let request = self.fresh_id();
        let Some(machine) = &self.hubs[hub].machine else { return };
        self.commits.insert(request, machine.marks(keys.iter()));
        self.hub_input(hub, HubInput::AwaitCommit { request: Request(request), keys });
    }

    /// What a hub calls committed the store has had.
    pub(super) fn told_committed(&mut self, hub: usize, request: u64, is_committed: bool) {
        let marks = self.commits.remove(&request).unwrap_or_default();
        for Mark { slot, hub: id, no, .. } in marks.into_iter().filter(|_| is_committed) {
            let reached = self.store.reached(slot, id);
            if reached < no {
                self.violate(
                    Checker::Stability,
                    format!("hub {hub} calls {no:?} committed in {slot:?}, and it was {reached:?}"),
                );
            }
        }
    }

    /// Whether somebody has asked for the key to be revoked.
    pub(super) fn was_revoked(&self, key: Option<&Key>) -> bool {
        key.is_some_and(|key| self.revoked.contains(key))
    }

    /// Notes that a key may be revoked from now on.
    pub(super) fn note_asked(&mut self, entry: &Entry) {
        if let Entry::Revoke(key) = entry {
            self.revoked.insert(key.clone());
        }
    }

    fn finish(&mut self, id: u64) {
        if let Some(http) = self.https.get_mut(&id) {
            http.is_done = true;
            let entry = http.work.entry.clone();
            self.removals.end(&entry);
        }
    }

    /// The client gives up; what it asked for may have been done.
    pub(super) fn give_up(&mut self, id: u64) {
        self.finish(id);
        let Some(http) = self.https.get(&id) else { return };
        let (entry, asked_ms) = (http.work.entry.clone(), http.asked_ms);
        if !matches!(entry, Entry::Nothing) {
            // What such a removal saw may have been all.
            self.removals.begin(&entry);
            self.ledger.may_have_removed(&entry, self.now);
            self.ledger.book_doubtful(entry, asked_ms);
        }
    }

    fn note_landed(&mut self, hub: usize, work: &Work, number: usize) {
        if !self.has(Kind::Wipe) {
            return;
        }
        let node = &self.hubs[hub];
        let Some(machine) = &node.machine else { return };
        let no = No(machine.status().last_no);
        if let Some(key) = work.commands[0].get(1).and_then(|name| Key::new(name.clone()).ok()) {
            self.landed.push((node.id, key.slot(), no, number));
        }
    }
}

fn is_read(command: &[Bytes]) -> bool {
    command.first().is_some_and(|name| [&b"GET"[..], b"SMEMBERS", b"EXISTS"].contains(&name.as_ref()))
}
