//! Calls from one instance to another, as the calling instance meets them.
//!
//! What becomes of a call is decided by [`Dispatch`], which knows what is mounted.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RResult};
use async_ffi::{BorrowingFfiFuture, FutureExt};
use hyper::HeaderMap;
use plugin_api::abi::call::{RawCall, RawCallError, RawCaller, RawCaller_TO, RawCallerBox};
use plugin_api::abi::response::RawResponse;
use plugin_api::extension::RawExtension;
use plugin_api::{CallError, Principal};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::config::Permission;
use crate::http::gate::secrets::Told;

/// The calls of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    /// The name of the calling instance.
    pub(crate) instance: Arc<str>,
    /// What its line allows it.
    pub(crate) permissions: Arc<[Permission]>,
    pub(crate) dispatcher: Arc<Dispatcher>,
}

impl Calls {
    /// The extension through which it makes calls, for `origin` or of its own.
    pub(crate) fn extension(&self, origin: Option<Origin>) -> RawExtension {
        let caller = Caller { calls: self.clone(), origin };
        RawExtension::new::<RawCallerBox>(RawCaller_TO::from_ptr(RBox::new(caller), TD_Opaque))
    }
}

/// The user whose session opened a request, and the instance that keeps that session.
pub(crate) type OpenedBy = (Principal, String);

/// The request that a call is made for.
pub(crate) struct Origin {
    pub(crate) address: Option<IpAddr>,
    pub(crate) scheme: &'static str,
    pub(crate) host: String,
    pub(crate) is_proxied: bool,
    /// What the client presents to session plugins, and what says where it comes from.
    pub(crate) headers: HeaderMap,
    pub(crate) request_id: String,
    pub(crate) deadline: Instant,
    pub(crate) opened_by: Option<OpenedBy>,
    /// Where the request's invalid secrets are counted.
    pub(crate) told: Arc<Told>,
}

/// Carries calls out.
pub(crate) trait Dispatch: Send + Sync {
    /// The answer to a call.
    fn call<'a>(
        &'a self,
        from: &'a Calls,
        origin: Option<&'a Origin>,
        call: RawCall,
    ) -> Pin<Box<dyn Future<Output = Result<RawResponse, CallError>> + Send + 'a>>;
}

/// Leads to what carries calls out, once that is there. Instances are prepared before.
#[derive(Default)]
pub(crate) struct Dispatcher(OnceLock<(Weak<dyn Dispatch>, Handle)>);

impl Dispatcher {
    /// From now on `dispatch` carries calls out, with the timers of this runtime.
    pub(crate) fn set(&self, dispatch: Weak<dyn Dispatch>) {
        // There is one for the life of the process.
        let _ = self.0.set((dispatch, Handle::current()));
    }
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dispatcher")
    }
}

struct Caller {
    calls: Calls,
    origin: Option<Origin>,
}

impl Caller {
    async fn answer(&self, call: RawCall) -> Result<RawResponse, CallError> {
        let served = self.calls.dispatcher.0.get();
        let served = served.and_then(|(dispatch, threads)| Some((dispatch.upgrade()?, threads)));
        let Some((dispatch, threads)) = served else {
            return Err(CallError::Unavailable("the host does not serve".to_owned()));
        };
        let mut answer = dispatch.call(&self.calls, self.origin.as_ref(), call);
        // A plugin may wait for it on threads of its own, where the host's timers are not at hand.
        poll_fn(|context| {
            let _entered = threads.enter();
            answer.as_mut().poll(context)
        })
        .await
    }
}

impl RawCaller for Caller {
    fn call(&self, call: RawCall) -> BorrowingFfiFuture<'_, RResult<RawResponse, RawCallError>> {
        // A panic while it is polled crosses the boundary as a value.
        async move { self.answer(call).await.map_err(RawCallError::from).into() }.into_ffi()
    }
}
