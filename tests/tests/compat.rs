//! A plugin built with the kept copy of plugin-api 1.0.0, in the host of today and in one that offers more.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use abi_stable::RRef;
use abi_stable::library::lib_header_from_path;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RStr, RString};
use e2e::pserve::Site;
use plugin_api::abi::host::{RawHost, RawHost_TO};
use plugin_api::abi::module::PluginModule_Ref;
use plugin_api::abi::plugin::RawPluginBox;
use plugin_api::abi::request::{RawAddress, RawHeaderRef, RawPrincipalRef, RawRequest, RawRequest_TO};
use plugin_api::extension::RawExtension;

#[test]
fn a_plugin_built_with_version_1_serves_in_the_host_of_today() {
    let site = Site::new();
    site.plugin("libhello_v1.so");
    site.ini("[plugin_parms]\nsessman=backend=memory\nold=plugin=hello-v1");
    let pserve = site.start();
    let client = pserve.client();
    client.get("/readyz").expect(200);
    assert_eq!(client.get("/old").expect(200).text, "hello from old\n");
    assert_eq!(client.send("POST", "/old/echo", "what is sent").expect(200).text, "what is sent");
    assert_eq!(client.get("/old/extension").expect(200).text, "none");
    assert!(pserve.stop().success());
}

#[test]
fn a_plugin_built_with_version_1_serves_in_a_host_with_an_extension_it_does_not_know() {
    let library = lib_header_from_path(&e2e::artifacts().join("libhello_v1.so")).unwrap();
    let module = library.init_root_module::<PluginModule_Ref>().unwrap();
    let host = RawHost_TO::from_ptr(RBox::new(Generous), TD_Opaque);
    let plugin = module.prepare()(host).into_result().unwrap();
    assert_eq!(plugin.routes().len(), 3);
    assert_eq!(answer(&plugin, ""), "hello from generous\n");
    let told = answer(&plugin, "extension");
    assert!(told.starts_with("the extension has another layout: "), "{told}");
}

/// A host that has an extension.
struct Generous;

impl RawHost for Generous {
    fn instance(&self) -> RStr<'_> {
        "generous".into()
    }

    fn config(&self) -> RStr<'_> {
        "{}".into()
    }

    fn state_folder(&self) -> RStr<'_> {
        "/".into()
    }

    fn log_enabled(&self, _level: u8) -> bool {
        false
    }

    fn log(&self, _level: u8, _message: RStr<'_>) {}

    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension> {
        let is_known = (id.as_str(), version) == ("greeting", 1);
        is_known.then(|| RawExtension::new(RString::from("good morning"))).into()
    }
}

/// The body of the plugin's answer at `path`, which has to be there at once.
fn answer(plugin: &RawPluginBox, path: &'static str) -> String {
    let request = Get(path);
    let raw = RawRequest_TO::from_ptr(RRef::new(&request), TD_Opaque);
    let Poll::Ready(answer) = pin!(plugin.handle(raw)).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("{path}: no answer yet")
    };
    let RResult::ROk(response) = answer else { panic!("{path}: it panicked") };
    assert_eq!(response.status, 200);
    String::from_utf8(response.body.into()).unwrap()
}

/// A bare request for a path below the mount.
struct Get(&'static str);

impl RawRequest for Get {
    fn route(&self) -> u32 {
        0
    }

    fn method(&self) -> RStr<'_> {
        "GET".into()
    }

    fn path(&self) -> RStr<'_> {
        self.0.into()
    }

    fn path_below_mount(&self) -> RStr<'_> {
        self.0.into()
    }

    fn query(&self) -> RStr<'_> {
        "".into()
    }

    fn header(&self, _name: RStr<'_>, _nth: usize) -> ROption<RSlice<'_, u8>> {
        ROption::RNone
    }

    fn header_at(&self, _index: usize) -> ROption<RawHeaderRef<'_>> {
        ROption::RNone
    }

    fn body(&self) -> RSlice<'_, u8> {
        RSlice::EMPTY
    }

    fn client_address(&self) -> RawAddress {
        RawAddress { family: 0, octets: [0; 16] }
    }

    fn scheme(&self) -> RStr<'_> {
        "http".into()
    }

    fn host(&self) -> RStr<'_> {
        "".into()
    }

    fn request_id(&self) -> RStr<'_> {
        "".into()
    }

    fn time_left(&self) -> u64 {
        u64::MAX
    }

    fn caller(&self) -> u8 {
        0
    }

    fn principal(&self) -> ROption<RawPrincipalRef<'_>> {
        ROption::RNone
    }

    fn cross_site(&self) -> bool {
        false
    }

    fn extension(&self, _id: RStr<'_>, _version: u32) -> ROption<RawExtension> {
        ROption::RNone
    }
}
