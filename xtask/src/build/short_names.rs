//! Short names for what the browser's module imports and exports, in the bindings too.
//!
//! wasm-bindgen's bear the name of what they are of and a hash, and stand in the module and in the script. wasm-opt gives
//! each a letter or two, and says which.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The pass of wasm-opt that gives short names and prints [`ShortNames`].
pub(super) const PASS: &str = "--minify-imports-and-exports-and-modules";

/// Under which name the bindings provide what the module imports.
const IMPORTED: &str = "\"./headwater_bg.js\": import0";

/// What wasm-opt renamed.
#[derive(Deserialize)]
pub(super) struct ShortNames {
    /// Module, name, and short name.
    imports: Vec<(String, String, String)>,
    /// Name and short name.
    exports: Vec<(String, String)>,
}

impl ShortNames {
    /// What the pass printed.
    pub(super) fn parse(printed: &str) -> Result<Self> {
        serde_json::from_str(printed).with_context(|| format!("wasm-opt renamed in an unknown form: {printed}"))
    }

    /// Renames in the script `bindings`, and in the declarations beside it.
    pub(super) fn apply(&self, folder: &Path, bindings: &str) -> Result<()> {
        let rewrite = |name: String, change: &dyn Fn(String) -> Result<String>| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let changed = change(text).with_context(|| path.display().to_string())?;
            fs::write(&path, changed).with_context(|| path.display().to_string())
        };
        rewrite(format!("{bindings}.js"), &|text| self.in_script(text))?;
        rewrite(format!("{bindings}.d.ts"), &|text| Ok(self.in_declarations(text, "readonly ")))?;
        rewrite(format!("{bindings}_bg.wasm.d.ts"), &|text| Ok(self.in_declarations(text, "export const ")))
    }

    fn in_script(&self, mut text: String) -> Result<String> {
        ensure!(text.contains(IMPORTED), "there is no {IMPORTED}");
        text = text.replace(IMPORTED, "\"a\": import0");
        for (_, name, short) in &self.imports {
            let long = format!(" {name}: function(");
            ensure!(text.contains(&long), "nothing provides {name}");
            text = text.replace(&long, &format!(" {short}: function("));
        }
        for (name, short) in &self.exports {
            for end in ['(', ')', '.', ',', ';'] {
                text = text.replace(&format!("wasm.{name}{end}"), &format!("wasm.{short}{end}"));
            }
        }
        Ok(text)
    }

    fn in_declarations(&self, text: String, before: &str) -> String {
        let rename = |text: String, (name, short): &(String, String)| {
            text.replace(&format!("{before}{name}:"), &format!("{before}{short}:"))
        };
        self.exports.iter().fold(text, rename)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_in_script_and_declarations() {
        let printed = r#"{ "imports": [["./headwater_bg.js", "__wbg_new_1f", "b"]], "exports": [["leaf_tick", "c"], ["leaf", "d"]] }"#;
        let names = ShortNames::parse(printed).unwrap();
        let script = "{ __wbg_new_1f: function() { wasm.leaf_tick(wasm.leaf, 1); } \"./headwater_bg.js\": import0 }";
        let short = "{ b: function() { wasm.c(wasm.d, 1); } \"a\": import0 }";
        assert_eq!(names.in_script(script.into()).unwrap(), short);
        assert_eq!(
            names.in_declarations("readonly leaf: 1; readonly leaf_tick: 2".into(), "readonly "),
            "readonly d: 1; readonly c: 2"
        );
        assert!(names.in_script("\"./headwater_bg.js\": import0".into()).is_err());
    }
}
