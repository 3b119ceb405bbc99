//! docs/ as a book: what is made from the source is as the source has it, and the book builds.

use e2e::pserve::Site;
use e2e::reference;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{file}")).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn the_reference_of_the_configuration_is_made_from_the_types() {
    let configuration = reference::Configuration::find();
    reference::keep("docs/configuration.md", &configuration.page(&read("docs/configuration.md")));
    for (file, schema) in configuration.schemas() {
        reference::keep(file, &format!("{schema:#}\n"));
    }
}

#[test]
fn the_page_of_routes_is_made_from_the_openapi_description() {
    let site = Site::new();
    site.write("sessman.json", read("config/sessman.json"));
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let description = pserve.client().get("/sessman/openapi.json").expect(200).json();
    reference::keep("docs/routes.md", &reference::http_api(&description));
}
