//! mongosh, connected to the configured database.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use settings::Problem;

use super::connection_string::ConnectionString;
use super::settings::MongoConfig;
use crate::secret::Secret;
use crate::store::shell::Shell;

/// The environment variable with the URL: otherwise mongosh takes a password only from its arguments or its prompt.
const VARIABLE: &str = "SESSCTL_MONGODB_URL";

impl MongoConfig {
    /// mongosh, connected to the configured database.
    pub(crate) fn shell(&self) -> Result<Shell, Problem> {
        let connect = format!("db = connect(process.env.{VARIABLE})");
        Ok(Shell {
            program: "mongosh",
            install: "mongosh from https://www.mongodb.com/try/download/shell",
            arguments: ["--quiet", "--nodb", "--shell", "--eval", &connect].map(Into::into).into(),
            environment: vec![(VARIABLE, self.shell_url()?)],
        })
    }

    /// The URL with login and database.
    fn shell_url(&self) -> Result<Secret, Problem> {
        let url = ConnectionString::parse(self.server_url.expose())
            .map_err(|message| Problem { key: "server_url".into(), message })?;
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let own = self.username.as_deref().map(|username| match &self.password {
            Some(password) => format!("{}:{}", encoded(username), encoded(password.expose())),
            None => encoded(username),
        });
        let login = url.login().map(str::to_owned).or(own);
        // In a URL the path is both the database to use and the authentication database.
        let default = if url.has_login() { "admin" } else { &self.database };
        let source = self.auth_source.as_deref().unwrap_or(url.database().unwrap_or(default));
        let is_said = url.option("authSource").is_some() && self.auth_source.is_none();
        let mut more = Vec::new();
        if login.is_some() && !is_said && !url.is_external() {
            more.push(format!("authSource={}", encoded(source)));
        }
        for (_, option, file) in self.files() {
            let path = file.map(|file| encoded(&file.to_string_lossy()));
            more.extend(path.map(|path| format!("{option}={path}")));
        }
        if self.files().iter().any(|(.., file)| file.is_some()) && url.option("tls").is_none() {
            more.push("tls=true".into());
        }
        Ok(Secret::new(url.text_with(login.as_deref(), &encoded(&self.database), &more)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(server_url: &str, login: Option<(&str, &str)>, auth_source: Option<&str>) -> String {
        let config = MongoConfig {
            server_url: Secret::new(server_url),
            username: login.map(|(username, _)| username.to_owned()),
            password: login.map(|(_, password)| Secret::new(password)),
            database: "sess".into(),
            collection: "sessions".into(),
            auth_source: auth_source.map(str::to_owned),
            tls_ca_file: server_url.starts_with("secure").then(|| "/a b/ca.pem".into()),
            tls_certificate_key_file: None,
        };
        config.shell_url().unwrap().expose().to_owned()
    }

    #[test]
    fn the_url_has_the_login_and_the_database() {
        assert_eq!(url("h:1", None, None), "mongodb://h:1/sess");
        assert_eq!(url("mongodb://a,b/?tls=true", None, None), "mongodb://a,b/sess?tls=true");
        assert_eq!(url("h", Some(("u", "p:/@%")), None), "mongodb://u:p%3A%2F%40%25@h/sess?authSource=sess");
        assert_eq!(url("h", Some(("u", "p")), Some("admin")), "mongodb://u:p@h/sess?authSource=admin");
        let in_url = url("mongodb+srv://u:p%40@h/users?tls=true", None, None);
        assert_eq!(in_url, "mongodb+srv://u:p%40@h/sess?tls=true&authSource=users");
        assert_eq!(url("mongodb://u:p@h/?authSource=x", None, None), "mongodb://u:p@h/sess?authSource=x");
        assert_eq!(url("mongodb://u:p@h", None, None), "mongodb://u:p@h/sess?authSource=admin");
        let files = url("secure.example", None, None);
        assert_eq!(files, "mongodb://secure.example/sess?tlsCAFile=%2Fa%20b%2Fca%2Epem&tls=true");
    }
}
