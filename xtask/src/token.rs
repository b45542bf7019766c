//! Keys for signed tokens, and tokens: JWTs under EdDSA with grants, as `edge/src/token.rs` reads them.
//!
//! A secret key is written to a file that only its owner may read, and never printed.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Subcommand;
use ed25519_compact::{KeyPair, Seed};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write a new secret key to a file, and print its public key for HEADWATER_TOKEN_KEYS.
    Keygen {
        /// The key's name, which tokens bear.
        kid: String,
        /// The file, which must not exist.
        file: PathBuf,
    },
    /// Print a token.
    Mint {
        /// The key's name.
        kid: String,
        /// The file with the secret key.
        file: PathBuf,
        /// How long the token holds, in seconds.
        #[arg(long, default_value_t = 3600)]
        ttl_s: u64,
        /// VERB[,VERB...]=PATTERN[,PATTERN...], such as read,write=user:42:*; may be given several times.
        #[arg(long = "grant", required = true)]
        grants: Vec<String>,
        /// The namespace of its bearer; without it the default one.
        #[arg(long)]
        namespace: Option<String>,
        /// Whose token it is, under which its rates are counted.
        #[arg(long)]
        subject: Option<String>,
        /// LIMIT/WINDOW_MS, such as 100/1000: how often each of the grants permits something.
        #[arg(long, requires = "subject")]
        rate: Option<String>,
    },
}

pub(crate) fn run(arguments: &Args) -> Result<()> {
    match &arguments.task {
        Task::Keygen { kid, file } => {
            let seed = Seed::generate();
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create_new(true).mode(0o600).open(file).context(file.display().to_string())?;
            writeln!(file, "{}", URL_SAFE_NO_PAD.encode(*seed))?;
            let public = URL_SAFE_NO_PAD.encode(*KeyPair::from_seed(seed).pk);
            println!("{}", json!({ kid: public }));
        }
        Task::Mint { kid, file, ttl_s, grants, namespace, subject, rate } => {
            let pair = KeyPair::from_seed(secret(file)?);
            let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let rate = rate.as_deref().map(self::rate).transpose()?;
            let grants = grants.iter().map(|text| grant(text, rate.as_ref())).collect::<Result<Vec<Value>>>()?;
            let mut claims = json!({ "iat": now_s, "exp": now_s + ttl_s, "grants": grants });
            for (claim, value) in [("ns", namespace), ("sub", subject)] {
                if let Some(value) = value {
                    claims[claim] = json!(value);
                }
            }
            println!("{}", signed(&pair, kid, &claims));
        }
    }
    Ok(())
}

fn secret(file: &Path) -> Result<Seed> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let seed = URL_SAFE_NO_PAD.decode(text.trim()).ok().and_then(|bytes| Seed::from_slice(&bytes).ok());
    seed.with_context(|| format!("{} holds no key that `cargo xtask token keygen` wrote", file.display()))
}

fn rate(text: &str) -> Result<Value> {
    let numbers =
        text.split_once('/').and_then(|(limit, window_ms)| Some((limit.parse().ok()?, window_ms.parse().ok()?)));
    let (limit, window_ms): (u64, u64) = numbers.with_context(|| format!("{text:?} is not LIMIT/WINDOW_MS"))?;
    ensure!(limit > 0 && window_ms > 0, "{text:?} lets nothing pass");
    Ok(json!({ "limit": limit, "window_ms": window_ms }))
}

fn grant(text: &str, rate: Option<&Value>) -> Result<Value> {
    let (verbs, keys) = text.split_once('=').with_context(|| format!("{text:?} is not VERBS=PATTERNS"))?;
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<String>>();
    let (verbs, keys) = (list(verbs), list(keys));
    ensure!(verbs.iter().chain(&keys).all(|item| !item.is_empty()), "{text:?} has an empty verb or pattern");
    let mut grant = json!({ "verbs": verbs, "keys": keys });
    if let Some(rate) = rate {
        grant["rate"] = rate.clone();
    }
    Ok(grant)
}

fn signed(pair: &KeyPair, kid: &str, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": kid, "typ": "JWT" })), part(claims));
    let signature = pair.sk.sign(&text, None);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(*signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_verbs_and_patterns() {
        let expected = json!({"verbs": ["read", "incr"], "keys": ["a:*", "b=c"]});
        assert_eq!(grant("read,incr=a:*,b=c", None).unwrap(), expected);
        for text in ["read", "=a", "read=", "read,=a"] {
            assert!(grant(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_limit_in_a_window() {
        let rate = rate("100/1000").unwrap();
        assert_eq!(grant("read=a", Some(&rate)).unwrap()["rate"], json!({"limit": 100, "window_ms": 1000}));
        for text in ["100", "100/", "/1000", "0/1", "1/0", "-1/1", "a/b"] {
            assert!(super::rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_is_three_parts_of_which_the_last_signs_the_others() {
        let pair = KeyPair::from_seed(Seed::new([7; 32]));
        let token = signed(&pair, "k", &json!({"exp": 1}));
        let (text, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(pair.pk.verify(text, &ed25519_compact::Signature::from_slice(&signature).unwrap()).is_ok());
    }

    #[test]
    fn a_secret_key_is_for_its_owner_alone_and_is_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("headwater-token-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("key");
        let keygen = || run(&Args { task: Task::Keygen { kid: "k".into(), file: file.clone() } });
        keygen().unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(secret(&file).is_ok());
        assert!(keygen().is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
