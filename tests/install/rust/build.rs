//! Compiles the part in C with the header of the folder that Midge names.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=part.c");
    let include = PathBuf::from(env::var_os("DEP_MIDGE_INCLUDE").expect("the folder of midge.h"));
    assert!(fs::exists(include.join("midge.h")).expect("a folder that can be read"), "{}", include.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names it"));
    // A feature of this package is that of Midge: then the header is among what was built, otherwise Midge's own.
    let anew = env::var_os("CARGO_FEATURE_HEADER").is_some();
    assert_eq!(include.ends_with("out/include"), anew, "{}", include.display());
    let (object, library) = (out.join("part.o"), out.join("libpart.a"));
    let compiler = env::var("CC").unwrap_or("cc".to_owned());
    run(Command::new(compiler)
        .arg("-I")
        .arg(&include)
        .args(["-Wall", "-Werror", "-c", "part.c", "-o"])
        .arg(&object));
    run(Command::new("ar").arg("crs").arg(&library).arg(&object));
    println!("cargo::rustc-link-search=native={}", out.display());
    println!("cargo::rustc-link-lib=static=part");
}

fn run(command: &mut Command) {
    let status = command.status().expect("a compiler of C");
    assert!(status.success(), "{command:?}: {status}");
}
