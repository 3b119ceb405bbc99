//! The places of users: the sessions of each, in the order of arrival.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::id::Handle;
use crate::store::{Claim, Claimed, Places, PlacesPage};

/// Memory of an entry in bytes, without its user's name and its handles.
const OVERHEAD: usize = 96;

/// The places of each user; no list is empty.
#[derive(Default)]
pub(super) struct Claims {
    entries: BTreeMap<String, Vec<Handle>>,
    bytes: usize,
}

fn size(user_id: &str, handles: &[Handle]) -> usize {
    if handles.is_empty() { 0 } else { OVERHEAD + user_id.len() + size_of_val(handles) }
}

impl Claims {
    /// Approximate memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn claim(&mut self, claim: Claim<'_>) -> Claimed {
        let Claim { user_id, handle, room, moves_last, earlier } = claim;
        let known = self.entries.get(user_id).map(Vec::as_slice).or(earlier);
        let Some(mut handles) = known.map(<[Handle]>::to_vec) else { return Claimed::Unknown };
        let held = handles.iter().position(|other| *other == handle);
        let last = handles.len() - usize::from(held.is_some());
        let place = held.filter(|_| !moves_last).unwrap_or(last);
        let fits = room.is_none_or(|room| place < room);
        if fits && held != Some(place) {
            handles.retain(|other| *other != handle);
            handles.push(handle);
        }
        self.put(user_id, handles.clone());
        if fits { Claimed::Done(handles) } else { Claimed::Full(handles) }
    }

    pub(super) fn release(&mut self, user_id: &str, gone: &[Handle]) {
        let Some(handles) = self.entries.get(user_id) else { return };
        let rest = handles.iter().filter(|handle| !gone.contains(handle)).copied().collect();
        self.put(user_id, rest);
    }

    /// The user's handles.
    pub(super) fn of(&self, user_id: &str) -> Vec<Handle> {
        self.entries.get(user_id).cloned().unwrap_or_default()
    }

    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> PlacesPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range::<str, _>((from, Bound::Unbounded)).take(limit);
        let places = |(user_id, handles): (&String, &Vec<Handle>)| Places {
            user_id: user_id.clone(),
            handles: handles.clone(),
        };
        let users: Vec<Places> = entries.map(places).collect();
        let next = users.last().filter(|_| users.len() == limit).map(|last| last.user_id.clone());
        PlacesPage { users, next }
    }

    fn put(&mut self, user_id: &str, handles: Vec<Handle>) {
        self.bytes += size(user_id, &handles);
        let old = match handles.is_empty() {
            true => self.entries.remove(user_id),
            false => self.entries.insert(user_id.to_owned(), handles),
        };
        self.bytes -= old.map_or(0, |old| size(user_id, &old));
    }
}
