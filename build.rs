//! Gives the shared library its SONAME, packs the console's pages, and tells packages that depend on this one where
//! midge.h is (`DEP_MIDGE_INCLUDE`): in include/, or with the feature `header`, which alone needs cbindgen, anew in OUT_DIR.

use std::path::PathBuf;
use std::{env, io};

#[cfg(feature = "header")]
#[path = "tools/header.rs"]
mod header;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let system = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if ["linux", "android", "freebsd", "netbsd", "openbsd"].contains(&system.as_str()) {
        // The number after `.so.` is that of the ABI: it changes when a program has to be compiled again.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmidge.so.0");
        // Of the Rust parts only what is `no_mangle` is exported anyway; this leaves out static C parts, too.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
    println!("cargo::metadata=include={}", include()?.display());
    #[cfg(feature = "console")]
    pages::pack()?;
    Ok(())
}

/// The folder of midge.h.
#[cfg(not(feature = "header"))]
fn include() -> io::Result<PathBuf> {
    Ok(folder("CARGO_MANIFEST_DIR")?.join("include"))
}

/// The folder of midge.h, after writing it. With MIDGE_WRITE_HEADER=1 the committed one is written, too.
#[cfg(feature = "header")]
fn include() -> io::Result<PathBuf> {
    use std::fs;

    for input in ["src/ffi", "cbindgen.toml", "tools/header.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rerun-if-env-changed=MIDGE_WRITE_HEADER");
    let root = folder("CARGO_MANIFEST_DIR")?;
    let text = header::generate(&root).map_err(io::Error::other)?;
    let include = folder("OUT_DIR")?.join("include");
    fs::create_dir_all(&include)?;
    fs::write(include.join("midge.h"), &text)?;
    if env::var("MIDGE_WRITE_HEADER").is_ok_and(|asked| asked == "1") {
        fs::write(root.join("include/midge.h"), &text)?;
    }
    Ok(include)
}

/// A folder that cargo names.
fn folder(variable: &str) -> io::Result<PathBuf> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("no {variable}")))
}

/// The files of src/http/assets, packed by gzip, and the list of them that src/http/assets.rs includes.
#[cfg(feature = "console")]
mod pages {
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::{env, fs, io};

    use flate2::{Compression, Crc, write::GzEncoder};

    /// The description of the API, packed as well.
    const DOCUMENT: &str = "src/http/openapi.json";

    pub(crate) fn pack() -> io::Result<()> {
        let assets = Path::new("src/http/assets");
        let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
        let mut files = Vec::new();
        collect(assets, &mut files)?;
        files.sort();
        let mut list = format!("static ASSETS: [Asset; {}] = [\n", files.len());
        for (number, file) in files.iter().enumerate() {
            let content = fs::read(file)?;
            let packed = out.join(format!("asset-{number}.gz"));
            fs::write(&packed, gzip(&content)?)?;
            let mut crc = Crc::new();
            crc.update(&content);
            let path = file.strip_prefix(assets).unwrap_or(file).display().to_string();
            let (address, etag) = (format!("/{path}"), format!("\"{:08x}-{}\"", crc.sum(), content.len()));
            let (kind, packed) = (content_type(&path), packed.display().to_string());
            writeln!(
                list,
                "    Asset {{ path: {address:?}, content_type: {kind:?}, etag: {etag:?}, packed: Packed::new(include_bytes!({packed:?})) }},"
            )
            .map_err(io::Error::other)?;
        }
        list.push_str("];\n");
        println!("cargo::rerun-if-changed={DOCUMENT}");
        let document = out.join("openapi.gz");
        fs::write(&document, gzip(&fs::read(DOCUMENT)?)?)?;
        let document = document.display().to_string();
        list.push_str(&format!("static OPENAPI: Packed = Packed::new(include_bytes!({document:?}));\n"));
        fs::write(out.join("assets.rs"), list)
    }

    fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(content)?;
        gzip.finish()
    }

    fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true => collect(&path, files)?,
                false => files.push(path),
            }
        }
        Ok(())
    }

    fn content_type(path: &str) -> &'static str {
        match path.rsplit('.').next().unwrap_or_default() {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" | "mjs" => "text/javascript; charset=utf-8",
            "json" | "webmanifest" => "application/json",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "ico" => "image/x-icon",
            "woff2" => "font/woff2",
            "txt" => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }
}
