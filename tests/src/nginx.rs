//! An nginx in front of a `pserve`.

use std::process::{Child, Command, Stdio};

use crate::ports;
use crate::pserve::{Site, eventually};

/// A running nginx; killed when it is dropped.
pub struct Nginx {
    child: Child,
    /// `host:port` of plain HTTP.
    pub http: String,
    /// `host:port` of TLS.
    pub https: String,
}

impl Nginx {
    /// Passes everything on to `upstream` (`http://127.0.0.1:6123`, `http://unix:/x.sock`) with the headers that are
    /// usual. Its certificate is the site's pair `a`.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn start(site: &Site, upstream: &str) -> Self {
        let [http, https] = [(); 2].map(|()| format!("127.0.0.1:{}", ports::free()));
        let folder = site.path("nginx");
        std::fs::create_dir(&folder).expect("a folder for nginx");
        let (certificate, key) = (site.path("a.pem"), site.path("a.key"));
        site.write(
            "nginx/nginx.conf",
            format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
                 events {{}}\n\
                 http {{ access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;\n\
                 uwsgi_temp_path t4; scgi_temp_path t5;\n\
                 server {{ listen {http}; listen {https} ssl;\n\
                 ssl_certificate {}; ssl_certificate_key {};\n\
                 location / {{ proxy_pass {upstream}; proxy_set_header Host $http_host;\n\
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
                 proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; }} }} }}\n",
                certificate.display(),
                key.display(),
            ),
        );
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "stderr"]);
        let child = command.stdin(Stdio::null()).spawn().expect("nginx starts");
        let mut this = Self { child, http, https };
        eventually("nginx listens", || {
            assert!(!matches!(this.child.try_wait(), Ok(Some(_))), "nginx ended");
            std::net::TcpStream::connect(&this.http).is_ok()
        });
        this
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
