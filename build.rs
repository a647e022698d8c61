//! Gives the shared library its SONAME. The header is not written here but by tests/header.rs: who embeds Midge must
//! not have to build cbindgen.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if ["linux", "android", "freebsd", "netbsd", "openbsd"].contains(&system.as_str()) {
        // The number after `.so.` is that of the ABI: it changes when a program has to be compiled again.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libmidge.so.0");
        // Of the Rust parts only what is `no_mangle` is exported anyway; this leaves out static C parts, too.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
