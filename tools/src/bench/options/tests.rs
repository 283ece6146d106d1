//! What is read from command lines of `oicq-tools bench`, and what is said about wrong ones.

use super::*;

fn call(arguments: &str) -> Result<Call, String> {
    let mut parser = Parser::from_args(arguments.split_whitespace());
    match parse(&mut parser) {
        Ok(call) => Ok(call.unwrap()),
        Err(Failure::Usage(words)) => Err(words),
        Err(other) => panic!("{other:?}"),
    }
}

fn options(arguments: &str) -> Options {
    match call(arguments) {
        Ok(Call::Measure(options)) => *options,
        Ok(_) => panic!("no measurement"),
        Err(words) => panic!("{words}"),
    }
}

#[test]
fn what_is_not_said_has_the_defaults_of_the_page() {
    let options = options("127.0.0.1:8000");
    assert!(matches!(options.server, Server::At(at) if at == ["127.0.0.1:8000".parse().unwrap()]));
    assert_eq!((options.load, options.rounds), (Load::Pairs(50), 5));
    let (warm_up_ns, duration_ns) = (500_000_000, 3_000_000_000);
    assert_eq!(options.length, Length::Time { warm_up_ns, duration_ns });
    let Shape { bytes, under_way, rate, extensions } = options.shape;
    assert_eq!((bytes, under_way, rate, extensions.sum()), (100, 16, None, 0));
    assert_eq!((options.relays.len(), options.patience_ns), (0, 30_000_000_000));
    assert_eq!(options.folder, PathBuf::from("."));
}

#[test]
fn what_stands_behind_the_dashes_is_the_servers() {
    let options = options("--serve oicqd --ceiling --rounds 2 -- --durability never --rounds 9");
    let Server::Start { program, options: of_server } = options.server else { panic!() };
    assert_eq!((program, options.rounds), ("oicqd".into(), 2));
    assert_eq!(of_server, ["--durability", "never", "--rounds", "9"]);
    assert_eq!(options.relays, Sort::ALL);
}

#[test]
fn each_load_counts_its_users() {
    for (arguments, load, users) in [
        ("--pairs 3", Load::Pairs(3), 6),
        ("--load broadcast", Load::Broadcast(1, 100), 101),
        ("--load broadcast --pairs 2 --receivers 9", Load::Broadcast(2, 9), 20),
        ("--load idle --connections 7", Load::Idle(7), 7),
        ("--load login", Load::Login(16), 16),
    ] {
        let options = options(&format!("127.0.0.1:1 {arguments}"));
        assert_eq!((options.load, options.load.users()), (load, users), "{arguments}");
    }
}

#[test]
fn steady_rates_have_more_under_way_unless_told_otherwise() {
    let shape = |arguments: &str| options(&format!("127.0.0.1:1 {arguments}")).shape;
    assert_eq!(shape("--rate 5000").under_way, 1_024);
    assert_eq!(shape("--rate 5000 --under-way 3").under_way, 3);
    assert_eq!(shape("--clients extended").extensions.sum(), 3);
}

#[test]
fn the_table_settles_its_loads_and_takes_how_they_are_measured() {
    let arguments = "--serve oicqd --table --rounds 2 --messages 9 -- --black-box 0";
    let Ok(Call::Table { common, sessions }) = call(arguments) else { panic!() };
    assert_eq!((common.rounds, common.length, sessions), (2, Length::Messages(9), 18_000));
    let Server::Start { program, options } = common.server else { panic!() };
    assert_eq!((program, options), ("oicqd".into(), vec!["--black-box".into(), "0".into()]));
    let Ok(Call::Table { sessions, .. }) = call("--serve oicqd --table --connections 7") else {
        panic!()
    };
    assert_eq!(sessions, 7);
    for (arguments, words) in [
        ("127.0.0.1:1 --table", "--table: it starts servers of its own"),
        ("--serve oicqd --table --load pairs", "--load: it is not for --table"),
        ("--serve oicqd --table --ceiling", "--ceiling: it is not for --table"),
        ("--serve oicqd --table --users 10001", "--users: it is not for --table"),
        ("--serve oicqd --table --duration 50s", "take more rounds"),
    ] {
        let said = call(arguments).err().unwrap_or_else(|| panic!("{arguments}"));
        assert!(said.contains(words), "{arguments}: {said}");
    }
}

#[test]
fn an_attack_has_a_server_a_length_and_sockets_and_nothing_else() {
    for sort in Attack::ALL {
        let arguments = format!("127.0.0.1:1 --attack {} --connections 7", sort.name());
        let Ok(Call::Attack(options)) = call(&arguments) else { panic!("{arguments}") };
        assert_eq!((options.sort, options.connections), (sort, Some(7)));
        assert_eq!(options.length, Length::Time { warm_up_ns: 0, duration_ns: 10_000_000_000 });
    }
    assert!(matches!(call("--attack list"), Ok(Call::ListAttacks)));
    for (arguments, words) in [
        ("127.0.0.1:1 --attack fun", "--attack: \"fun\" was given, expected silent, slow"),
        ("127.0.0.1:1 --attack slow --load pairs", "--load: it is not for --attack"),
        ("127.0.0.1:1 --attack slow --rounds 2", "--rounds: it is not for --attack"),
        ("192.0.2.1:1 --attack slow", "--yes-i-own-this-server"),
    ] {
        let said = call(arguments).err().unwrap_or_else(|| panic!("{arguments}"));
        assert!(said.contains(words), "{arguments}: {said}");
    }
}

#[test]
fn relays_are_for_messages_and_broadcasts() {
    for load in ["pairs", "broadcast"] {
        let options = options(&format!("127.0.0.1:1 --load {load} --ceiling"));
        assert_eq!(options.relays, Sort::ALL, "{load}");
    }
}

#[test]
fn other_machines_want_a_word() {
    for address in ["192.0.2.1:8000", "[2001:db8::1]:8000", "0.0.0.0:8000"] {
        let words = call(address).err().unwrap();
        assert!(words.contains("--yes-i-own-this-server"), "{words}");
        options(&format!("{address} --yes-i-own-this-server"));
    }
    for address in ["127.8.0.1:8000", "[::1]:8000"] {
        options(address);
    }
}

#[test]
fn a_wrong_call_says_what_was_expected() {
    for (arguments, words) in [
        ("", "ADDR"),
        ("127.0.0.1", "expected an address such as"),
        ("127.0.0.1:1 127.0.0.1:2", "one argument too many"),
        ("127.0.0.1:1 --serve oicqd", "one of the two"),
        ("127.0.0.1:1 -- --durability never", "one argument too many"),
        ("127.0.0.1:1 --load fun", "--load: \"fun\" was given, expected pairs, broadcast"),
        ("127.0.0.1:1 --pairs 0", "--pairs: 0 was given, expected a whole number from 1"),
        ("127.0.0.1:1 --bytes 8193", "from 1 to 8192"),
        ("127.0.0.1:1 --receivers 5", "--receivers: it is for --load broadcast"),
        ("127.0.0.1:1 --load idle --rate 5", "--rate: it is for --load pairs and --load broadcast"),
        ("127.0.0.1:1 --load idle --rounds 2", "--rounds: it is for --load pairs"),
        ("127.0.0.1:1 --messages 5 --warm-up 1s", "--warm-up: a round of --messages has no time"),
        (
            "127.0.0.1:1 --load login --ceiling",
            "--ceiling: it is for --load pairs and --load broadcast",
        ),
        ("127.0.0.1:1 --duration 5", "--duration: \"5\" was given, expected a time"),
        ("127.0.0.1:1 --duration 0s", "longer than 0"),
        ("127.0.0.1:1 --duration 50s --ceiling", "take more rounds"),
        ("127.0.0.1:1 --pairs 600000", "1200000 users are too many"),
        ("127.0.0.1:1 --clients old", "expected base or extended"),
        ("127.0.0.1:1 --relay fast", "expected bare or durable"),
        ("127.0.0.1:1 --format xml", "expected text or json"),
        ("127.0.0.1:1 --fun", "--fun"),
        ("127.0.0.1:1 --ceiling=yes", "yes"),
    ] {
        let said = call(arguments).err().unwrap_or_else(|| panic!("{arguments}"));
        assert!(said.contains(words), "{arguments}: {said}");
    }
}

#[test]
fn a_long_run_has_a_server_of_its_own_users_a_rate_and_a_seed() {
    let arguments =
        "--serve oicqd --soak 5min --rate 70 --seed 9 --connections 20 -- --black-box 0";
    let Ok(Call::Soak(options)) = call(arguments) else { panic!() };
    assert_eq!((options.length_ns, options.rate, options.seed), (300_000_000_000, Some(70), 9));
    assert_eq!((options.users, options.program), (20, "oicqd".into()));
    assert_eq!(options.server_options, ["--black-box", "0"]);
    let Ok(Call::Soak(options)) = call("--serve oicqd --soak 60min") else { panic!() };
    assert_eq!((options.users, options.rate), (256, None));
    for (arguments, words) in [
        ("127.0.0.1:1 --soak 5min", "--soak: it restarts its server"),
        ("--serve oicqd --soak 5", "--soak: \"5\" was given, expected a time"),
        ("--serve oicqd --soak 0s", "longer than 0"),
        ("--serve oicqd --soak 5s --connections 8", "--soak has 9 to 10000 users"),
        ("--serve oicqd --soak 5s --pairs 3", "--pairs: it is not for --soak"),
        ("--serve oicqd --soak 5s --table", "--table: it is not for --soak"),
        ("--serve oicqd --soak 5s --attack slow", "--attack: it is not for --soak"),
        ("--serve oicqd --seed 5", "--seed: it is for --soak"),
    ] {
        let said = call(arguments).err().unwrap_or_else(|| panic!("{arguments}"));
        assert!(said.contains(words), "{arguments}: {said}");
    }
}
