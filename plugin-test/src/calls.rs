//! The calls that an instance makes to others, which the test answers.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RResult};
use async_ffi::{BorrowingFfiFuture, FutureExt};
use plugin_api::abi::call::{RawCall, RawCallError, RawCaller, RawCaller_TO, RawCallerBox};
use plugin_api::abi::response::RawResponse;
use plugin_api::extension::RawExtension;
use plugin_api::guard::guard;
use plugin_api::{Call, CallError, Response};

type Answer = dyn FnMut(&Call) -> Result<Response, CallError> + Send;

/// What a test has calls answered by.
pub(crate) struct Answers(pub(crate) Box<Answer>);

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

/// The calls of one instance.
pub(crate) struct Calls {
    /// The instance that makes them.
    instance: String,
    /// None: no call is allowed.
    answers: Mutex<Option<Answers>>,
    made: Mutex<Vec<Call>>,
    /// Of the answers, where the test does not know yet.
    panic: Mutex<Option<String>>,
}

impl Calls {
    pub(crate) fn of(instance: &str, answers: Option<Answers>) -> Arc<Self> {
        Arc::new(Self {
            instance: instance.to_owned(),
            answers: Mutex::new(answers),
            made: Mutex::default(),
            panic: Mutex::default(),
        })
    }

    /// Those that were made so far.
    pub(crate) fn made(&self) -> Vec<Call> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the test of a panic of its answers, of which the plugin may have said nothing.
    ///
    /// # Panics
    /// The answers panicked since the last time, and the thread does not panic anyway.
    pub(crate) fn check(&self) {
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic.filter(|_| !thread::panicking()) {
            panic!("the closure of `answer_calls` {panic}");
        }
    }

    /// The extension through which the instance makes calls: of its own, or for a request, which a session has opened or
    /// none.
    pub(crate) fn extension(self: Arc<Self>, has_session: bool) -> RawExtension {
        let caller = Caller { calls: self, has_session };
        RawExtension::new::<RawCallerBox>(RawCaller_TO::from_ptr(RBox::new(caller), TD_Opaque))
    }

    fn answer(&self, call: &Call, has_session: bool) -> Result<Response, CallError> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        if call.instance().is_empty() && !has_session {
            return Err(CallError::NoSession);
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Answers(answers)) = answers.as_mut() else {
            return Err(CallError::NotAllowed(format!(
                "the test of `{}` does not say what is answered to {call:?}: write \
                 `Setup::answer_calls(|call| Ok(Response::...))` in it",
                self.instance
            )));
        };
        guard(|| answers(call)).unwrap_or_else(|panic| {
            let mut known = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            known.get_or_insert(panic.to_string());
            Err(CallError::Failed("the closure of `answer_calls` panicked".to_owned()))
        })
    }
}

/// What the plugin holds.
struct Caller {
    calls: Arc<Calls>,
    has_session: bool,
}

impl RawCaller for Caller {
    fn call(&self, call: RawCall) -> BorrowingFfiFuture<'_, RResult<RawResponse, RawCallError>> {
        async move {
            let answer = self.calls.answer(&call.into(), self.has_session);
            answer.map(RawResponse::from).map_err(RawCallError::from).into()
        }
        .into_ffi()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use plugin_api::{Called, Class, Grant, Host, Plugin, Route};
    use serde_json::json;

    use super::*;
    use crate::{Request, Setup};

    /// Calls, and says what came of it.
    struct Asker(Host);

    const ROUTES: [Route; 3] = [
        Route::new("ask", &["POST"], Class::Public),
        Route::new("session", &["GET"], Class::Public),
        Route::new("called", &["GET"], Class::Service),
    ];

    impl Plugin for Asker {
        const NAME: &'static str = "asker";
        const VERSION: &'static str = "1.0.0";
        const ANSWERS_NOW: bool = true;

        fn prepare(host: Host) -> Result<Self, String> {
            Ok(Self(host))
        }

        fn routes(&self) -> Vec<Route> {
            ROUTES.into()
        }

        fn handle_now(&self, request: plugin_api::Request<'_>) -> Option<Response> {
            (request.route() == 2 && request.called().is_some()).then(|| Response::new(500))
        }

        async fn handle(&self, request: plugin_api::Request<'_>) -> Response {
            match request.route() {
                0 => {
                    let is_own = request.query() == "own";
                    let instance = if request.query() == "keeper" { "" } else { "mailer" };
                    let calls = if is_own { self.0.calls() } else { request.calls() }.unwrap();
                    let call = Call::new(instance, "PUT", "send?to=ada")
                        .with_header("x-kind", "news")
                        .with_body("hello")
                        .on_session("s-1");
                    match calls.send(call).await {
                        Ok(answer) => answer.into_response(),
                        Err(error) => Response::text(418, error.to_string()),
                    }
                }
                1 => match request.session().await {
                    Ok(session) => Response::text(200, format!("{} {}", session.user_id(), session.data())),
                    Err(error) => error.into(),
                },
                _ => Response::text(200, format!("{:?} {:?}", request.caller(), request.called())),
            }
        }
    }

    #[test]
    fn a_call_reaches_the_test_and_its_answer_the_plugin() {
        for target in ["/asker/ask", "/asker/ask?own"] {
            let mut count = 0;
            let asker = Setup::of::<Asker>().answer_calls(move |call| {
                count += 1;
                Ok(Response::text(202, format!("{count} {}", call.instance())))
            });
            let asker = asker.start();
            for expected in ["1 mailer", "2 mailer"] {
                let answer = asker.call(&Request::post(target)).unwrap().expect(202);
                assert_eq!(answer.text(), expected, "{target}");
            }
            let calls = asker.calls();
            assert_eq!(calls.len(), 2);
            let call = &calls[0];
            assert_eq!((call.instance(), call.method(), call.path()), ("mailer", "PUT", "send?to=ada"));
            assert_eq!((call.header("x-kind"), call.header("x-other")), (Some("news"), None));
            assert_eq!((call.body(), call.session()), (b"hello".as_slice(), Some("s-1")));
        }
    }

    #[test]
    fn an_error_of_the_test_is_that_of_the_call() {
        let refuse = |_: &Call| Err(CallError::Unavailable("not now".to_owned()));
        let asker = Setup::of::<Asker>().answer_calls(refuse).start();
        assert_eq!(asker.call(&Request::post("/asker/ask")).unwrap().expect(418).text(), "not now");
    }

    #[test]
    fn a_call_that_the_test_does_not_answer_is_not_allowed_and_says_what_to_write() {
        let asker = Setup::of::<Asker>().start();
        let answer = asker.call(&Request::post("/asker/ask")).unwrap().expect(418);
        let expected = "the test of `asker` does not say what is answered to Call(PUT mailer/send): write \
                        `Setup::answer_calls(|call| Ok(Response::...))` in it";
        assert_eq!(answer.text(), expected);
        assert_eq!(asker.calls().len(), 1);
    }

    #[test]
    fn the_session_is_that_of_the_principal() {
        let asker = Setup::of::<Asker>().answer_calls(|call| {
            assert_eq!((call.instance(), call.session()), ("", Some("s-1")));
            Ok(Response::json(200, json!({ "data": { "a": 1 } }).to_string()))
        });
        let asker = asker.start();
        let request = Request::get("/asker/session");
        asker.call(&request).unwrap().expect(401);
        assert!(asker.calls().is_empty());
        // Nobody keeps the session of a request that none has opened.
        let answer = asker.call(&Request::post("/asker/ask?keeper")).unwrap().expect(418);
        assert_eq!(answer.text(), "there is no live session");
        let answer = asker.call(&request.principal("ada", "s-1")).unwrap().expect(200);
        assert_eq!(answer.text(), r#"ada {"a":1}"#);
    }

    #[test]
    fn an_assertion_that_fails_in_an_answer_fails_the_test_and_not_the_plugin() {
        let asker = Setup::of::<Asker>().answer_calls(|_| panic!("on purpose")).start();
        let call = || asker.call(&Request::post("/asker/ask"));
        let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert_eq!(text, "the closure of `answer_calls` panicked: on purpose");
        // It is told once.
        asker.health().unwrap();
    }

    #[test]
    fn a_request_can_be_a_call_of_another_instance() {
        let asker = Setup::of::<Asker>().start();
        let called = |grant| Called { instance: "shop".into(), grant, session: Some("s-1".into()) };
        let request = Request::get("/asker/called");
        let answer = asker.call(&request.clone().called_by(called(Grant::Service))).unwrap().expect(200);
        assert_eq!(answer.text(), format!("Keyed {:?}", Some(called(Grant::Service))));
        asker.call(&request.clone().called_by(called(Grant::Session))).unwrap().expect(401);
        assert_eq!(asker.call(&request).unwrap().expect(200).text(), "Open None");
    }
}
