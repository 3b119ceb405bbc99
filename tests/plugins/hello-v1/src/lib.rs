//! An old plugin: built with the copy of `plugin-api` 1.0.0 in `tests/compat`, it knows nothing that came later.

use plugin_api::extension::RawExtension;
use plugin_api::{Class, Host, Plugin, Request, Response, Route, export_plugin};

struct Hello(Host);

impl Plugin for Hello {
    const NAME: &'static str = "hello-v1";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn prepare(host: Host) -> Result<Self, String> {
        Ok(Self(host))
    }

    fn routes(&self) -> Vec<Route> {
        vec![
            Route::new("", &["GET"], Class::Public),
            Route::new("echo", &["POST"], Class::Public),
            Route::new("extension", &["GET"], Class::Public),
        ]
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        match request.path_below_mount() {
            "echo" => Response::text(200, String::from_utf8_lossy(request.body())),
            // It knows that there are extensions, and of this one another type than a newer host has.
            "extension" => match self.0.extension("greeting", 1).map(RawExtension::downcast::<u64>) {
                None => Response::text(200, "none"),
                Some(Ok(number)) => Response::text(200, number.to_string()),
                Some(Err(difference)) => Response::text(200, difference),
            },
            _ => Response::text(200, format!("hello from {}\n", self.0.instance())),
        }
    }
}

export_plugin!(Hello);
