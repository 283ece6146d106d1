//! `oicq-tools`, the program. All of it is in the library.

fn main() -> std::process::ExitCode {
    oicq_tools::main()
}
