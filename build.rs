//! Gives the shared library its SONAME, and packs the console's pages. The header is not written here but by
//! tests/header.rs: who embeds Midge must not have to build cbindgen.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if ["linux", "android", "freebsd", "netbsd", "openbsd"].contains(&system.as_str()) {
        // The number after `.so.` is that of the ABI: it changes when a program has to be compiled again.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libmidge.so.0");
        // Of the Rust parts only what is `no_mangle` is exported anyway; this leaves out static C parts, too.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
    #[cfg(feature = "console")]
    pages::pack();
}

/// The files of src/http/assets, packed by gzip, and the list of them that src/http/assets.rs includes.
#[cfg(feature = "console")]
mod pages {
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use flate2::{Compression, Crc, write::GzEncoder};

    /// The description of the API, packed as well.
    const DOCUMENT: &str = "src/http/openapi.json";

    pub(crate) fn pack() {
        let assets = Path::new("src/http/assets");
        println!("cargo:rerun-if-changed={}", assets.display());
        let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says where"));
        let mut files = Vec::new();
        collect(assets, &mut files);
        files.sort();
        let mut list = String::from("static ASSETS: &[Asset] = &[\n");
        for (number, file) in files.iter().enumerate() {
            let content = fs::read(file).expect("the page can be read");
            let packed = out.join(format!("asset-{number}.gz"));
            fs::write(&packed, gzip(&content)).expect("cargo's folder takes files");
            let mut crc = Crc::new();
            crc.update(&content);
            let path =
                file.strip_prefix(assets).expect("it was found there").to_str().expect("names are text");
            writeln!(
                list,
                "    Asset {{ path: {:?}, content_type: {:?}, etag: {:?}, gzip: include_bytes!({:?}) }},",
                format!("/{path}"),
                content_type(path),
                format!("\"{:08x}-{}\"", crc.sum(), content.len()),
                packed.to_str().expect("cargo's folder is text"),
            )
            .expect("memory takes everything");
        }
        list.push_str("];\n");
        println!("cargo:rerun-if-changed={DOCUMENT}");
        let document = out.join("openapi.gz");
        fs::write(&document, gzip(&fs::read(DOCUMENT).expect("the document is there")))
            .expect("cargo's folder takes files");
        writeln!(
            list,
            "static OPENAPI: &[u8] = include_bytes!({:?});",
            document.to_str().expect("it is text")
        )
        .expect("memory takes everything");
        fs::write(out.join("assets.rs"), list).expect("cargo's folder takes files");
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(content).expect("memory takes everything");
        gzip.finish().expect("memory takes everything")
    }

    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        println!("cargo:rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(folder).expect("the pages are there") {
            let path = entry.expect("the pages are there").path();
            match path.is_dir() {
                true => collect(&path, files),
                false => files.push(path),
            }
        }
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
