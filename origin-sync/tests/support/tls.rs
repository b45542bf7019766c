//! An authority of our own, and what it vouches for, made anew by `openssl` for each process.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Where the files are; each `NAME.crt` has its `NAME.key`.
pub struct Certificates(PathBuf);

impl Certificates {
    /// Those of this process: `ca`, which vouches for `server` and `client`, and `other`, which vouches for nobody.
    pub fn of_this_process() -> &'static Self {
        static MADE: OnceLock<Certificates> = OnceLock::new();
        MADE.get_or_init(|| {
            let directory =
                Path::new(env!("CARGO_TARGET_TMPDIR")).join(concat!("certificates-", env!("CARGO_CRATE_NAME")));
            std::fs::create_dir_all(&directory).unwrap();
            let made = Self(directory);
            for authority in ["ca", "other"] {
                made.openssl(&["-x509", "-subj", &format!("/CN={authority}")], authority);
            }
            for name in ["server", "client"] {
                let (ca, key) = (made.path("ca.crt"), made.path("ca.key"));
                let subject = format!("/CN={name}");
                let names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"];
                let by = ["-x509", "-subj", &subject, "-CA", ca.to_str().unwrap(), "-CAkey", key.to_str().unwrap()];
                made.openssl(&[&by[..], &names[..]].concat(), name);
            }
            made
        })
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn openssl(&self, arguments: &[&str], name: &str) {
        let status = Command::new("openssl")
            .args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(arguments)
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")))
            .arg("-out")
            .arg(self.path(&format!("{name}.crt")))
            .stderr(Stdio::null())
            .status()
            .expect("openssl cannot be started; install it: apt-get install openssl");
        assert!(status.success(), "openssl makes no certificate for {name}");
    }
}
