//! The C header in `include/` is what cbindgen makes of `src/abi.rs`. `CAMSCOPE_UPDATE_HEADER=1 cargo test -p camscope-plugin` writes it.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new().with_config(config).with_src(folder.join("src/abi.rs")).generate().unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let file = folder.join("include/camscope_plugin.h");
    if std::env::var_os("CAMSCOPE_UPDATE_HEADER").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept == made,
        "the header is out of date: CAMSCOPE_UPDATE_HEADER=1 cargo test -p camscope-plugin writes it"
    );
}
