//! The program `asof`: hands its arguments to the library's command line and ends with its exit code.
//! Nothing else happens here.

fn main() -> std::process::ExitCode {
    asof::cli::main(std::env::args_os().collect())
}
