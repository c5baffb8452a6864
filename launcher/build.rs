//! How the binary is linked: without what only an unwinder would read.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in ["--gc-sections", "--no-eh-frame-hdr", "--build-id=none", "-znorelro"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
