//! How the binary is linked: see `link.ld`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
    println!("cargo::rustc-link-arg-bins=-T{}/link.ld", env!("CARGO_MANIFEST_DIR"));
    for argument in ["--gc-sections", "--build-id=none"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
