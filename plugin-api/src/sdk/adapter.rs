//! Guards the host's calls of a plugin's methods against panics.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RResult, RStr, RString, RVec};
use async_ffi::{BorrowingFfiFuture, FutureExt};

use crate::abi::now::{NOW, NOW_VERSION, RawNow, RawNow_TO, RawNowBox};
use crate::abi::plugin::{RawAuthentication, RawHealth, RawPlugin, RawRoute};
use crate::abi::request::RawRequestRef;
use crate::abi::response::RawResponse;
use crate::extension::RawExtension;
use crate::guard::{GuardedFuture, Panic, guard};
use crate::{Plugin, Request};

/// A plugin whose calls are guarded.
pub(crate) struct Adapter<P>(Arc<Dropped<P>>);

/// A plugin that is dropped explicitly, so that a panic in its drop is caught.
struct Dropped<P>(ManuallyDrop<P>);

impl<P> Adapter<P> {
    pub(crate) fn new(plugin: P) -> Self {
        Self(Arc::new(Dropped(ManuallyDrop::new(plugin))))
    }

    fn plugin(&self) -> &P {
        &self.0.0
    }
}

impl<P> Drop for Dropped<P> {
    fn drop(&mut self) {
        let plugin = &mut self.0;
        // SAFETY: this is the only place that drops it, and `drop` runs once.
        #[allow(unsafe_code, reason = "ManuallyDrop has no safe way to drop in place")]
        let _ = guard(|| unsafe { ManuallyDrop::drop(plugin) });
    }
}

/// Calls `make` for a future, and guards both the call and the future.
fn guarded<'a, F, T, R>(
    make: impl FnOnce() -> F,
    convert: impl FnOnce(T) -> R + Send + 'a,
) -> BorrowingFfiFuture<'a, RResult<R, RString>>
where
    F: Future<Output = T> + Send + 'a,
    T: Send + 'a,
    R: Send + 'a,
{
    match guard(make) {
        Ok(future) => {
            let future = GuardedFuture::new(future);
            async move { future.await.map(convert).map_err(Panic::text).into() }.into_ffi()
        }
        Err(panic) => std::future::ready(RResult::RErr(panic.text())).into_ffi(),
    }
}

/// For calls whose own error is a line of text: merges it with the error for a panic, into one `RResult`.
fn flatten<'a>(
    future: BorrowingFfiFuture<'a, RResult<Result<(), String>, RString>>,
) -> BorrowingFfiFuture<'a, RResult<(), RString>> {
    async move {
        match future.await {
            RResult::ROk(result) => result.map_err(RString::from).into(),
            RResult::RErr(panic) => RResult::RErr(panic),
        }
    }
    .into_ffi()
}

impl<P: Plugin> RawPlugin for Adapter<P> {
    fn routes(&self) -> RVec<RawRoute> {
        guard(|| self.plugin().routes().into_iter().map(RawRoute::from).collect()).unwrap_or_default()
    }

    fn capabilities(&self) -> u64 {
        guard(|| self.plugin().capabilities()).unwrap_or_default()
    }

    fn activate(&self) -> BorrowingFfiFuture<'_, RResult<(), RString>> {
        flatten(guarded(|| self.plugin().activate(), |result| result))
    }

    fn deactivate(&self) -> BorrowingFfiFuture<'_, RResult<(), RString>> {
        flatten(guarded(|| self.plugin().deactivate(), |result| result))
    }

    fn shutdown(&self) -> BorrowingFfiFuture<'_, RResult<(), RString>> {
        guarded(|| self.plugin().shutdown(), |()| ())
    }

    fn handle<'a>(
        &'a self,
        request: RawRequestRef<'a>,
    ) -> BorrowingFfiFuture<'a, RResult<RawResponse, RString>> {
        guarded(|| self.plugin().handle(Request::new(request)), RawResponse::from)
    }

    fn authenticate<'a>(
        &'a self,
        request: RawRequestRef<'a>,
    ) -> BorrowingFfiFuture<'a, RResult<RawAuthentication, RString>> {
        guarded(|| self.plugin().authenticate(Request::new(request)), RawAuthentication::from)
    }

    fn health(&self) -> BorrowingFfiFuture<'_, RResult<RawHealth, RString>> {
        guarded(|| self.plugin().health(), RawHealth::from)
    }

    fn metrics(&self) -> BorrowingFfiFuture<'_, RResult<RString, RString>> {
        guarded(|| self.plugin().metrics(), RString::from)
    }

    fn openapi(&self) -> BorrowingFfiFuture<'_, RResult<ROption<RString>, RString>> {
        guarded(|| self.plugin().openapi(), |document| document.map(RString::from).into())
    }

    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension> {
        if P::ANSWERS_NOW && (id.as_str(), version) == (NOW, NOW_VERSION) {
            let now = RawNow_TO::from_ptr(RBox::new(Self(Arc::clone(&self.0))), TD_Opaque);
            return ROption::RSome(RawExtension::new::<RawNowBox>(now));
        }
        guard(|| self.plugin().extension(id.into(), version)).ok().flatten().into()
    }
}

impl<P: Plugin> RawNow for Adapter<P> {
    fn handle_now(&self, request: RawRequestRef<'_>) -> RResult<ROption<RawResponse>, RString> {
        let answer = guard(|| self.plugin().handle_now(Request::new(request)));
        answer.map(|answer| answer.map(RawResponse::from).into()).map_err(Panic::text).into()
    }
}
