//! A call from one instance to another, in this process.
//!
//! It meets the called instance as a request of a client does: the same routes, the same wait while the instance is being
//! replaced, the same guard against panics. What stands in place of the key is the permission in the caller's line.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::Request;
use hyper::http::request::Parts;
use plugin_api::abi::budget::{RawBudget, WAITING};
use plugin_api::abi::call::{RawCall, RawCalled};
use plugin_api::abi::response::RawResponse;
use plugin_api::{CallError, Caller, Class, Grant};
use tokio::time::{Instant, timeout_at};

use super::app::App;
use super::request::HostRequest;
use crate::config::Permission;
use crate::http::control::snapshot::{Mount, Snapshot, Target};
use crate::http::gate::access::Access;
use crate::http::gate::proxy::Client;
use crate::http::message::in_time::in_time;
use crate::http::message::lines::Lines;
use crate::http::message::request_id::{REQUEST_ID, RequestId};
use crate::plugin::{Calls, Dispatch, Drawn, Instance, OpenedBy, Origin, Route, State};

/// Bodies of up to this many bytes are not counted, as in answers to clients.
const SMALL: usize = 4 * 1024;

impl Dispatch for App {
    fn call<'a>(
        &'a self,
        from: &'a Calls,
        origin: Option<&'a Origin>,
        call: RawCall,
    ) -> Pin<Box<dyn Future<Output = Result<RawResponse, CallError>> + Send + 'a>> {
        Box::pin(async move {
            let mut to = None;
            let answer = self.answer_call(from, origin, call, &mut to).await;
            let outcome = answer.as_ref().map_or_else(outcome, |_| "answered");
            self.metrics().plugin_call(&from.instance, to.unwrap_or("-"), outcome);
            // What an operator or an author has to mend; the rest passes, and the caller is told.
            if let Err(reason @ (CallError::NotAllowed(_) | CallError::Malformed(_))) = &answer {
                let (instance, to) = (&*from.instance, to.unwrap_or("-"));
                tracing::warn!(instance, to, %reason, "a call was not answered");
            }
            answer
        })
    }
}

/// The label of an error in the metrics.
fn outcome(error: &CallError) -> &'static str {
    match error {
        CallError::NotAllowed(_) => "not_allowed",
        CallError::Malformed(_) => "malformed",
        CallError::Unavailable(_) => "unavailable",
        CallError::Late(_) => "late",
        _ => "failed",
    }
}

impl App {
    async fn answer_call<'a>(
        &self,
        from: &'a Calls,
        origin: Option<&Origin>,
        mut call: RawCall,
        to: &mut Option<&'a str>,
    ) -> Result<RawResponse, CallError> {
        let permission = permission(from, origin, &call)?;
        *to = Some(&permission.instance);
        let (session, opened_by) = session(&call, permission, origin)?;
        let called = RawCalled {
            instance: (&*from.instance).into(),
            grant: permission.grant as u8,
            session: session.into(),
        };
        let mut snapshot = self.snapshot();
        let is_served = is_in(&snapshot, from);
        if !is_served {
            // While it is being activated: those that it calls are already. Otherwise it has been replaced or unloaded.
            let next = self.next().filter(|next| is_in(next, from));
            snapshot = next.ok_or_else(|| {
                CallError::Unavailable(format!("`{}` is not served, so it may not call", from.instance))
            })?;
        }
        let deadline = match origin {
            Some(origin) => origin.deadline,
            None => Instant::now() + snapshot.config.limits.request_timeout,
        };
        let drawn = Drawn::on(self.budget());
        draw(&drawn, call.body.capacity())?;
        let size = call.body.capacity();
        let body = Bytes::from_owner(std::mem::take(&mut call.body));
        loop {
            if Instant::now() >= deadline {
                return Err(CallError::Late("the deadline of the request has passed".to_owned()));
            }
            let target = find(&snapshot, &permission.instance, &call)?;
            let inner = Inner { snapshot: &snapshot, target, permission, origin, called: &called, deadline };
            match inner.answer(&call, body.clone(), opened_by).await? {
                Outcome::Answered(response) => {
                    drop(body);
                    if size > SMALL {
                        drawn.give_back(WAITING, size as u64);
                    }
                    return counted(response, drawn);
                }
                Outcome::Moved(instance) => {
                    // An instance that is being activated must not wait: the replacement waits for it.
                    let waits = is_served && timeout_at(deadline, instance.settled()).await.is_ok();
                    if !waits {
                        let name = &permission.instance;
                        return Err(CallError::Unavailable(format!("`{name}` is being replaced")));
                    }
                    snapshot = self.snapshot();
                }
            }
        }
    }
}

/// Whether the snapshot has the calling instance itself, and not another of its name.
fn is_in(snapshot: &Snapshot, from: &Calls) -> bool {
    let mount = snapshot.mount(&from.instance);
    mount.is_some_and(|mount| Arc::ptr_eq(&mount.instance.calls.instance, &from.instance))
}

/// What the caller's line says of the instance that it calls.
fn permission<'a>(
    from: &'a Calls,
    origin: Option<&Origin>,
    call: &RawCall,
) -> Result<&'a Permission, CallError> {
    let named = match (call.instance.as_str(), origin.and_then(|origin| origin.opened_by.as_ref())) {
        ("", Some((_, keeper))) => keeper.as_str(),
        ("", None) => return Err(CallError::NoSession),
        (named, _) => named,
    };
    let named = named.to_lowercase();
    // It goes to the log.
    if !named.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Err(CallError::Malformed("the name of an instance that is none".to_owned()));
    }
    from.permissions.iter().find(|permission| permission.instance == named).ok_or_else(|| {
        let from = &from.instance;
        CallError::NotAllowed(format!(
            "`{from}` may not call `{named}`: write `calls={named}` in the line of `{from}` in [plugin_parms]"
        ))
    })
}

/// The session that the call is about, and the user whom it opened the request for.
fn session<'a>(
    call: &RawCall,
    permission: &Permission,
    origin: Option<&'a Origin>,
) -> Result<(String, Option<&'a OpenedBy>), CallError> {
    let opened_by = origin.and_then(|origin| origin.opened_by.as_ref());
    let session = call.session.as_str();
    let is_its_own = opened_by
        .is_some_and(|(principal, keeper)| *keeper == permission.instance && principal.handle == session);
    if !session.is_empty() && permission.grant == Grant::Session && !is_its_own {
        let name = &permission.instance;
        return Err(CallError::NotAllowed(format!(
            "a session of `{name}` other than the request's own needs `calls={name}:service`"
        )));
    }
    Ok((session.to_owned(), opened_by))
}

fn find(snapshot: &Snapshot, instance: &str, call: &RawCall) -> Result<Target, CallError> {
    let Some(Mount { instance, .. }) = snapshot.mount(instance) else {
        return Err(CallError::Unavailable(format!("`{instance}` is not loaded")));
    };
    // A path of a URI, and nothing else: it goes to the log.
    let path = call.path.split('?').next().unwrap_or_default();
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(CallError::Malformed("a path that is none".to_owned()));
    }
    let path = below(instance, path);
    let target = snapshot.find(&path).filter(|target| {
        snapshot.target(*target).is_some_and(|(mount, _)| Arc::ptr_eq(&mount.instance, instance))
    });
    target.ok_or_else(|| CallError::Malformed(format!("`{}` has no route {path}", instance.name)))
}

/// The full path of one below the instance's mount.
fn below(instance: &Instance, path: &str) -> String {
    match path {
        "" if !instance.mount().is_empty() => instance.mount().to_owned(),
        path => format!("{}/{path}", instance.mount()),
    }
}

/// Reserves memory for bytes that stand in a call.
fn draw(drawn: &Drawn, bytes: usize) -> Result<(), CallError> {
    match bytes <= SMALL || drawn.draw(WAITING, bytes as u64) {
        true => Ok(()),
        false => Err(CallError::Unavailable("memory is short ([limits] max_memory)".to_owned())),
    }
}

/// The answer, whose memory is counted as long as the caller has it.
fn counted(mut response: RawResponse, drawn: Drawn) -> Result<RawResponse, CallError> {
    // It has been carried out, so it must not be tried again.
    let failed = |_| CallError::Failed("there is no memory for the answer ([limits] max_memory)".to_owned());
    draw(&drawn, response.body.capacity()).map_err(failed)?;
    response.extensions.push(drawn.into_extension());
    Ok(response)
}

/// A call whose target is known.
struct Inner<'a> {
    snapshot: &'a Snapshot,
    target: Target,
    permission: &'a Permission,
    origin: Option<&'a Origin>,
    called: &'a RawCalled,
    deadline: Instant,
}

enum Outcome {
    Answered(RawResponse),
    /// The instance is being replaced, and the call has not reached it.
    Moved(Arc<Instance>),
}

impl Inner<'_> {
    async fn answer(
        &self,
        call: &RawCall,
        body: Bytes,
        opened_by: Option<&OpenedBy>,
    ) -> Result<Outcome, CallError> {
        let Some((mount, route)) = self.snapshot.target(self.target) else {
            return Err(CallError::Malformed("there is no such route".to_owned()));
        };
        let method = self.check(route, call.method.as_str())?;
        let instance = &mount.instance;
        let principal = match &mount.access {
            // Whom a guarded instance serves is known of the request alone that the call is made for.
            Access::Session(keeper) => match opened_by {
                Some((principal, own)) if own == keeper => Some(principal),
                _ => {
                    let name = &instance.name;
                    return Err(CallError::NotAllowed(format!(
                        "sessions guard `{name}`, and the call is not made for a request that such a session opened"
                    )));
                }
            },
            Access::Open | Access::OpenByDefault | Access::Keyed(_) => None,
        };
        let parts = self.parts(mount, call)?;
        let id = RequestId::of(&parts.headers);
        let request = HostRequest {
            parts: &parts,
            lines: Lines::default(),
            method,
            route: self.target.route(),
            below_mount: call.path.split('?').next().unwrap_or_default(),
            query: parts.uri.query().unwrap_or_default(),
            body,
            client: self.client(),
            cors: self.snapshot.config.cors.as_ref(),
            caller: match (self.permission.grant, &mount.access) {
                (Grant::Session, _) => Caller::Unkeyed,
                (Grant::Service | Grant::Admin, Access::Keyed(_)) => Caller::Keyed,
                (Grant::Service | Grant::Admin, _) => Caller::Open,
            },
            principal,
            deadline: self.deadline,
            id: &id,
            told: OnceLock::new(),
            mount: Some(mount),
            called: Some(self.called),
        };
        let entered = match instance.enter() {
            Ok(entered) => entered,
            Err(State::HandingOver | State::Retired) => return Ok(Outcome::Moved(Arc::clone(instance))),
            Err(state) => {
                let (name, state) = (&instance.name, state.name());
                return Err(CallError::Unavailable(format!("`{name}` is {state}")));
            }
        };
        let name = &instance.name;
        let answer = in_time(self.deadline, pin!(instance.handle(&entered, request.raw()))).await;
        // A session id that the client guesses through a plugin is a guess of that client.
        if let Some(origin) = self.origin {
            origin.told.add(&request.misses());
        }
        match answer {
            Some(Ok(response)) => Ok(Outcome::Answered(response)),
            Some(Err(reason)) => {
                let (route, request) = (&route.path, id.text());
                tracing::error!(instance = name, route, request, reason, "the plugin failed");
                Err(CallError::Failed(format!("`{name}` failed")))
            }
            None => Err(CallError::Late(format!("`{name}` did not answer in time"))),
        }
    }

    /// The method that the plugin sees, if the route may be called so.
    fn check<'m>(&self, route: &Route, method: &'m str) -> Result<&'m str, CallError> {
        let Some(method) = route.seen_method(method) else {
            return Err(CallError::Malformed(format!("{} takes {}", route.path, route.allow)));
        };
        let needed = match route.class {
            Class::Public | Class::Session => Grant::Session,
            Class::Service => Grant::Service,
            Class::Admin => Grant::Admin,
            Class::ForwardAuth => {
                let path = &route.path;
                return Err(CallError::NotAllowed(format!(
                    "{path} is for reverse proxies: a plugin has `auth_type=session`"
                )));
            }
        };
        if self.permission.grant >= needed {
            return Ok(method);
        }
        let name = &self.permission.instance;
        let needed = if needed == Grant::Admin { "admin" } else { "service" };
        Err(CallError::NotAllowed(format!("{} needs `calls={name}:{needed}`", route.path)))
    }

    /// The request as one of HTTP would be.
    fn parts(&self, mount: &Mount, call: &RawCall) -> Result<Parts, CallError> {
        let malformed = || CallError::Malformed("a method, path or header that is none".to_owned());
        let mut builder =
            Request::builder().method(call.method.as_str()).uri(below(&mount.instance, call.path.as_str()));
        for header in &call.headers {
            builder = builder.header(header.name.as_str(), header.value.as_str());
        }
        let mut parts = builder.body(()).map_err(|_| malformed())?.into_parts().0;
        let Some(origin) = self.origin else { return Ok(parts) };
        // Where the call names a session itself, the client's must not be meant, too. A back end that has the key is not asked
        // from which page its own request came, either.
        let names_session = !self.called.session.is_empty();
        let is_service = self.permission.grant >= Grant::Service;
        let own: Vec<_> = parts.headers.keys().cloned().collect();
        for name in origin.headers.keys().filter(|name| !own.contains(name)) {
            match name.as_str() {
                "cookie" | "x-session-id" if names_session => continue,
                "origin" | "sec-fetch-site" if is_service => continue,
                _ => {}
            }
            for value in origin.headers.get_all(name) {
                parts.headers.append(name, value.clone());
            }
        }
        if let Ok(id) = origin.request_id.parse() {
            parts.headers.insert(REQUEST_ID, id);
        }
        Ok(parts)
    }

    /// The client: that of the request, or none.
    fn client(&self) -> Client<'_> {
        match self.origin {
            Some(origin) => Client {
                address: origin.address,
                scheme: origin.scheme,
                host: &origin.host,
                is_proxied: origin.is_proxied,
            },
            None => Client { address: None, scheme: "http", host: "", is_proxied: false },
        }
    }
}
