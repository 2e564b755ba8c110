//! Writes include/ancillary.h; with `--check` says whether the committed one is current.

use std::path::Path;
use std::process::ExitCode;

/// The sources of what C sees, in `src/c`, in the order in which the header presents it.
const TOPICS: [&str; 14] = [
    "constants.rs",
    "version.rs",
    "fds.rs",
    "place.rs",
    "msg.rs",
    "creds.rs",
    "control.rs",
    "frame.rs",
    "channel.rs",
    "channel_send.rs",
    "channel_recv.rs",
    "peer.rs",
    "rendezvous.rs",
    "ancil.rs",
];

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("include/ancillary.h");
    let header = generate(&root);
    match std::env::args().nth(1).as_deref() {
        None => {
            std::fs::write(&path, header).expect("include/ancillary.h can be written");
            ExitCode::SUCCESS
        }
        Some("--check") => {
            if std::fs::read_to_string(&path).is_ok_and(|committed| committed == header) {
                println!("include/ancillary.h is current");
                return ExitCode::SUCCESS;
            }
            eprintln!("include/ancillary.h is not what the sources say: run 'make header'");
            ExitCode::FAILURE
        }
        Some(other) => {
            eprintln!("unknown argument {other}; there is only --check");
            ExitCode::FAILURE
        }
    }
}

fn generate(root: &Path) -> String {
    let config =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml can be read");
    let mut sources = cbindgen::Builder::new().with_config(config);
    for topic in TOPICS {
        sources = sources.with_src(root.join("src/c").join(topic));
    }
    let mut header = Vec::new();
    sources.generate().expect("the header can be generated").write(&mut header);
    String::from_utf8(header).expect("the sources are UTF-8")
}
