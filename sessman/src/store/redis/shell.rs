//! redis-cli, connected to the configured database.

use std::ffi::OsString;

use settings::Problem;

use super::settings::RedisConfig;
use crate::store::shell::Shell;

impl RedisConfig {
    /// redis-cli, connected to the first of the servers.
    pub(crate) fn shell(&self) -> Result<Shell, Problem> {
        let settings = self.settings()?;
        let mut arguments: Vec<OsString> = Vec::new();
        let server = &settings.servers[0];
        for (option, value) in [("-h", server.host.clone()), ("-p", server.port.to_string())] {
            arguments.extend([option.into(), value.into()]);
        }
        if settings.servers.len() > 1 {
            // Cluster mode: follows redirections.
            arguments.push("-c".into());
        } else {
            arguments.extend(["-n".into(), settings.database.to_string().into()]);
        }
        if let Some(username) = settings.username {
            arguments.extend(["--user".into(), username.into()]);
        }
        if let Some(tls) = settings.tls {
            arguments.push("--tls".into());
            let (certificate, key) = tls.own_files.unzip();
            for (option, file) in [("--cacert", tls.ca_file), ("--cert", certificate), ("--key", key)] {
                arguments.extend(file.into_iter().flat_map(|file| [option.into(), file.into()]));
            }
        }
        Ok(Shell {
            program: "redis-cli",
            install: "the package redis-tools",
            arguments,
            environment: settings.password.map(|password| ("REDISCLI_AUTH", password)).into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn shell(server_url: &str) -> Shell {
        let config = RedisConfig {
            server_url: Secret::new(server_url),
            username: None,
            password: None,
            database: None,
            prefix: "sessman".into(),
            tls_ca_file: server_url.starts_with("rediss").then(|| "ca.pem".into()),
            tls_certificate_file: None,
            tls_key_file: None,
            wait_replicas: 0,
        };
        config.shell().unwrap()
    }

    #[test]
    fn arguments_say_all_but_the_password() {
        let one = shell("rediss://ada:hidden@h:1/3");
        let expected = ["-h", "h", "-p", "1", "-n", "3", "--user", "ada", "--tls", "--cacert", "ca.pem"];
        assert_eq!(one.arguments, expected);
        let [(name, password)] = &one.environment[..] else { panic!("{one:?}") };
        assert_eq!((*name, password.expose()), ("REDISCLI_AUTH", "hidden"));
        let cluster = shell("a:1,b:2");
        assert_eq!(cluster.arguments, ["-h", "a", "-p", "1", "-c"]);
        assert!(cluster.environment.is_empty());
    }
}
