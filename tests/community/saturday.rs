//! Saturday: the club comes together on the new server.

use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::{Kind, Request};

use crate::people::{
    COPY_SHOP, HOME_MANDY, HOME_PANG, HOME_XIE, HOTEL, LI, LIBRARY, LIBRARY_2, MANDY, PANG,
    PRINTER, QING, SCHOOL, SPARROW, STRANGER, TOMAS, WEB_SERVER, XIE, ZHEN, ZHOU,
};
use crate::story::{Person, Story, send};

pub fn tell(s: &mut Story) {
    the_librarian_opens(s);
    an_old_engineer(s);
    a_teacher(s);
    a_pupil(s);
    the_printer(s);
    the_copy_shop(s);
    from_the_web(s);
    the_network(s);
    lists_and_searches(s);
    the_meeting(s);
    a_nuisance(s);
    files(s);
    files_that_fail(s);
    the_evening(s);
    the_mailbox(s);
}

fn the_librarian_opens(s: &mut Story) {
    s.scene(
        (12, 8, 30),
        "The librarian registers at her desk. Her first password is too short, and the client lets \
         her choose a picture that does not exist.",
    );
    s.connect("zhou", LIBRARY);
    s.ask("zhou", Request::Test);
    let short = Account { password: Secret::new(b"zhou"), ..ZHOU.account() };
    s.ask("zhou", Request::Register(short));
    let mut account = ZHOU.account();
    account.profile.portrait = 300;
    s.ask("zhou", Request::Register(account));
    s.register("zhou", &ZHOU);
    s.log_in("zhou", &ZHOU, 0);
    s.look_at("zhou", &ZHOU);
    s.add_group("zhou", "老机器俱乐部");
    s.add_group("zhou", "读者");
    s.add_group("zhou", "temp");
    s.ask("zhou", Request::RenameGroup { group: GroupNumber(3), name: "读者 readers".as_bytes() });
    s.ask("zhou", Request::RenameGroup { group: GroupNumber(1), name: "同事".as_bytes() });
    s.note("A group is gone again; the first one stays; others never were.");
    s.ask("zhou", Request::DeleteGroup { group: GroupNumber(4) });
    s.ask("zhou", Request::DeleteGroup { group: GroupNumber(1) });
    s.ask("zhou", Request::DeleteGroup { group: GroupNumber(4) });
    s.ask("zhou", Request::RenameGroup { group: GroupNumber(9), name: b"nine" });
    s.ask("zhou", Request::AddGroup { name: b"" });
    s.who_is_online("zhou", 0, 20, 2);
    s.say("zhou", &ZHOU, "备忘：十点去接打印机。");
    s.test("zhou");
}

fn an_old_engineer(s: &mut Story) {
    s.scene((12, 8, 45), "Lao Xie dials in from home, and mistypes his own password at first.");
    s.connect("xie", HOME_XIE);
    s.register("xie", &XIE);
    s.try_log_in("xie", XIE.number, "sample-xei", 0);
    s.log_in("xie", &XIE, 0);
    s.search("xie", "SELECT * FROM users WHERE nickname LIKE '%馆员%'");
    s.look_at("xie", &ZHOU);
    s.ask_friend("xie", &ZHOU, "小周，我是二楼修收音机的老谢。");
    s.answer("zhou", &XIE, 1);
    s.add("zhou", &XIE);
    s.move_friends("zhou", &[(&XIE, 2)]);
    s.look_at("xie", &ZHOU);
    s.say("zhou", &XIE, "谢老师早！您上来啦？");
    s.say("xie", &ZHOU, "早。这个拨号比当年发电报还慢，不过听得见握手的声音，好听。");
    s.say("zhou", &XIE, "下午两点俱乐部第一次活动，您那台1983年的机器能搬来吗？");
    s.say("xie", &ZHOU, "能搬。电源换过两个电容，磁带机的皮带是我用橡皮筋做的。");
    s.say("xie", &ZHOU, "要带的东西：\n\t1. 主机\n\t2. 磁带机\n\t3. 黑白电视一台\n\t4. 备用保险丝");
    s.say("zhou", &XIE, "我让小胖去帮您抬。");
    s.say("xie", &ZHOU, "那孩子有力气，就是手痒，什么键都要按一下。");
    s.note("What is no friend cannot be moved, and not to a group that is not there.");
    s.move_friends("zhou", &[(&MANDY, 2)]);
    s.move_friends("zhou", &[(&XIE, 7)]);
    s.move_friends("zhou", &[]);
    s.add("zhou", &XIE);
    s.add("zhou", &ZHOU);
}

fn a_teacher(s: &mut Story) {
    s.scene(
        (12, 9, 10),
        "Mandy's client wants to be told when her friends come and go, and something that no server \
         has. She asks once more when she is logged in, which is too late.",
    );
    s.connect("mandy", HOME_MANDY);
    s.ask("mandy", Request::WantExtensions { wanted: 12 });
    s.register("mandy", &MANDY);
    s.log_in("mandy", &MANDY, 0);
    s.ask("mandy", Request::WantExtensions { wanted: 12 });
    s.search("mandy", "select number, nickname from users where hobbies like '%8%' limit 5");
    s.add("mandy", &XIE);
    s.ask_friend("mandy", &ZHOU, "Good morning! I teach English at No. 2 Middle School.");
    s.ask_friend("mandy", &ZHOU, "Sorry, I forgot: it is about the computer club.");
    s.answer("zhou", &MANDY, 1);
    s.ask_friend("zhou", &MANDY, "图书馆的小周");
    s.answer("mandy", &ZHOU, 1);
    s.move_friends("zhou", &[(&MANDY, 2)]);
    s.say("mandy", &ZHOU, "Thank you! Is the club in Chinese only? Mine is, er, under repair.");
    s.say("zhou", &MANDY, "Both. Old machines speak BASIC, everybody understands it.");
    s.say(
        "mandy",
        &XIE,
        "Hello! I read that you repair tape recorders. I have a 48K with rubber keys.",
    );
    s.say("xie", &MANDY, "Hello. My English is from radio manuals. What does it not do?");
    s.say("mandy", &XIE, "It loads, and loads, and then: R Tape loading error, 0:1");
    s.say(
        "xie",
        &MANDY,
        "Head is not straight. Small screw, turn slowly, listen for the highest tone.",
    );
    s.say("mandy", &XIE, "You can *hear* it?");
    s.say("xie", &MANDY, "68 years, but this I can hear. 带来，我给你调。");
    s.say("mandy", &XIE, "带来 = bring it? I will!");
    s.add("xie", &MANDY);
    s.answer("mandy", &XIE, 1);
}

fn a_pupil(s: &mut Story) {
    s.scene(
        (12, 9, 30),
        "Xiaopang has written his own client. It sends a message before it has logged in, then in \
         the name of somebody else; the third version works.",
    );
    s.connect("pang-v1", LIBRARY_2);
    s.ask_as("pang-v1", 10_004, send(10_001, "hello???"));
    s.end("pang-v1");
    s.connect("pang-v2", LIBRARY_2);
    s.register("pang-v2", &PANG);
    s.log_in("pang-v2", &PANG, 0);
    s.ask_as("pang-v2", 10_001, send(10_002, "我是周馆员（才怪）"));
    s.end("pang-v2");
    s.connect("pang", LIBRARY_2);
    s.ask_as(
        "pang",
        PANG.number,
        Request::LogIn { password: Secret::new(PANG.password.as_bytes()), mode: 9 },
    );
    s.log_in("pang", &PANG, 0);
    s.add("zhou", &PANG);
    s.ask_friend("pang", &ZHOU, "周阿姨我是小胖");
    s.answer("zhou", &PANG, 1);
    s.add("pang", &XIE);
    s.say("pang", &XIE, "谢爷爷！你那台机器有游戏吗");
    s.say("xie", &PANG, "有。自己输入，两百行。");
    s.say("pang", &XIE, "啊？？？自己打？");
    s.say("xie", &PANG, "打错一个字就不动，这样才学得会。");
    s.say("pang", &ZHOU, "周阿姨，谢爷爷说游戏要自己打两百行 :(");
    s.say("zhou", &PANG, "那你下午早点来，顺便帮谢爷爷抬电视。");
    s.note("A second login on this connection, and a registration inside the session.");
    s.try_log_in("pang", PANG.number, PANG.password, 0);
    s.ask("pang", Request::Register(PANG.account()));
    s.say("pang", &Person { number: 99_999, ..PANG }, "有人吗");
    s.ask("pang", send(ZHOU.number, ""));
    s.ask("pang", send(ZHOU.number, "beep\u{7}"));
}

fn the_printer(s: &mut Story) {
    s.scene(
        (12, 10, 0),
        "Tomas brings the line printer. He, the copy shop, the café's guest and the school register \
         in a row, so that the printer gets the number that the server was told.",
    );
    s.connect("tomas", HOTEL);
    s.register("tomas", &TOMAS);
    s.log_in("tomas", &TOMAS, 0);
    s.connect("zhen", COPY_SHOP);
    s.register("zhen", &ZHEN);
    s.log_in("zhen", &ZHEN, 0);
    s.connect_as("qing", Kind::Web, WEB_SERVER);
    s.register("qing", &QING);
    s.log_in("qing", &QING, 0);
    s.connect("li", SCHOOL);
    s.register("li", &LI);
    s.log_in("li", &LI, 0);
    s.connect_as("printer", Kind::Print, LIBRARY);
    s.register("printer", &PRINTER);
    s.note("A user's client may not be the printer, a user is no printer, and nobody is a fax.");
    s.connect("tomas-2", HOTEL);
    s.try_log_in("tomas-2", PRINTER.number, PRINTER.password, 0);
    s.end("tomas-2");
    s.try_log_in("printer", TOMAS.number, TOMAS.password, 0);
    s.connect_as("tomas-fax", Kind::Fax, HOTEL);
    s.try_log_in("tomas-fax", TOMAS.number, TOMAS.password, 0);
    s.end("tomas-fax");
    s.log_in("printer", &PRINTER, 0);
    s.say("tomas", &PRINTER, "hello, are you there?");
    s.say("printer", &TOMAS, "ready, paper 200 sheets");
    let page =
        b"OLD MACHINES CLUB\r\n\r\nSaturday 2 pm, second floor.\r\nBring a screwdriver.\r\n\x0C";
    s.offer("tomas", &PRINTER, "welcome.txt", page.len());
    s.answer_file("printer", &TOMAS, 1);
    s.piece("tomas", &PRINTER, &page[..40]);
    s.piece("tomas", &PRINTER, b"");
    s.piece("tomas", &PRINTER, &page[40..]);
    s.say("printer", &TOMAS, "welcome.txt: 1 page");
    s.ask_friend("tomas", &ZHOU, "printer is up. also: it smells a bit, that is normal");
    s.answer("zhou", &TOMAS, 1);
    s.say("tomas", &ZHOU, "It prints, listen. Do not let children near the ribbon.");
    s.say("zhou", &TOMAS, "听见了，整个二楼都听见了。Thank you!");
    s.ask_friend("zhou", &TOMAS, "the librarian with the loud printer");
    s.answer("tomas", &ZHOU, 1);
}

fn the_copy_shop(s: &mut Story) {
    s.scene(
        (12, 10, 20),
        "Zhen of the copy shop lets nobody add her. Later she changes her mind and asks first.",
    );
    s.add("pang", &ZHEN);
    s.ask_friend("zhou", &ZHEN, "阿珍，隔壁图书馆");
    s.say("zhou", &ZHEN, "阿珍，加不上你，说拒绝了？");
    s.say("zhen", &ZHOU, "哎呀是我设的，以前在别处有人一晚上问我硒鼓多少钱。我改一下。");
    let changed = Account { password: Secret::new(b""), authentication: 1, ..ZHEN.account() };
    s.ask("zhen", Request::ChangeProfile(changed));
    s.ask_friend("zhou", &ZHEN, "阿珍，隔壁图书馆，再试一次");
    s.answer("zhen", &ZHOU, 1);
    s.ask_friend("pang", &ZHEN, "我要印海报");
    s.answer("zhen", &PANG, 0);
    s.answer("zhen", &PANG, 1);
    s.answer("zhen", &ZHOU, 5);
    s.add("zhen", &ZHOU);
    s.answer("zhou", &ZHEN, 1);
    s.say("zhen", &ZHOU, "小胖这孩子，上次的海报钱还没给呢，先不加。");
    s.say("zhou", &ZHEN, "哈哈，我替他给。二十张A3，下午来拿。");
    s.say("zhen", &ZHOU, "A3每张五毛，给图书馆算三毛。");
    s.note("Another change keeps her setting; an age of 200 and a gender of 7 are refused.");
    let mut kept = Account { authentication: 255, ..changed };
    kept.profile.hobbies = "跳广场舞".as_bytes();
    s.ask("zhen", Request::ChangeProfile(kept));
    let mut wrong = kept;
    wrong.profile.age = 200;
    s.ask("zhen", Request::ChangeProfile(wrong));
    wrong = kept;
    wrong.profile.gender = 7;
    s.ask("zhen", Request::ChangeProfile(wrong));
    s.look_at("zhou", &ZHEN);
    s.look_at("tomas", &ZHEN);
    s.look_at("tomas", &Person { number: 10_999, ..TOMAS });
}

fn from_the_web(s: &mut Story) {
    s.scene((12, 10, 40), "Frog is on a café's web page; the web server speaks for the guest.");
    s.search("qing", "SELECT number FROM users WHERE city LIKE '临河%' ORDER BY age DESC, number");
    s.add("qing", &XIE);
    s.add("qing", &PANG);
    s.add("pang", &QING);
    s.say("qing", &PANG, "你会汇编吗？");
    s.say("pang", &QING, "我会按回车");
    s.say("qing", &PANG, "那也是一种指令。6502只有五十六条，比古诗少。");
    s.say("pang", &QING, "唐诗三百首我只会十首");
    s.say("qing", &XIE, "前辈好，听说您有一台CPU是6502的机器？我在写一个模拟器，缺ROM的时序。");
    s.say("xie", &QING, "有。1 MHz，我有示波器，可以量给你看。");
    s.say("qing", &XIE, "太好了！！我明天坐车来。");
    s.note("Halfway, the web server mixes up its guests and speaks as a client of its own.");
    let bytes = {
        s.connect("mixed-up", WEB_SERVER);
        s.bytes("mixed-up", QING.number, Request::Test)
    };
    s.end("mixed-up");
    s.raw("qing", &bytes);
    s.end("qing");
    s.connect_as("qing-2", Kind::Web, WEB_SERVER);
    s.log_in("qing-2", &QING, 0);
    s.say("qing-2", &PANG, "掉线了，回来了。");
    s.test("qing-2");
}

fn the_network(s: &mut Story) {
    s.scene(
        (12, 11, 5),
        "Li comes hidden, looks around, and tries what the server takes. Strange types are refused, \
         the session goes on.",
    );
    s.mode("li", 2);
    s.ask_friend("li", &XIE, "李科，二中管网络的");
    s.ask_friend("li", &ZHOU, "二中网管小李，上次修过你们的集线器");
    s.answer("zhou", &LI, 1);
    s.ask_friend("zhou", &LI, "谢谢你修的集线器");
    s.answer("li", &ZHOU, 1);
    s.who_is_online("zhou", 0, 50, 2);
    s.say("zhou", &LI, "小李你在吗？看你是离线。");
    s.say("li", &ZHOU, "在的，隐身。一上线就有人问我密码。");
    s.raw("li", &[0x81, 0x0A, 0x01, 0x0F, 0, 0, 0, 4, 0, 0, 0x27, 0x18]);
    s.raw("li", &[0x81, 0x0A, 0x01, 0x42, 0, 0, 0, 12, 0, 0, 0x27, 0x18, 0, 0, 0, 0, 0, 0, 0, 1]);
    s.raw("li", &[0x81, 0x0A, 0x01, 0xFF, 0, 0, 0, 0]);
    s.mode("li", 7);
    s.mode("li", 3);
    s.say("zhou", &LI, "现在看见了，勿扰。那不吵你。");
    s.mode("li", 1);
    s.say("li", &ZHOU, "没事。下午我带一台8086过来，两个软驱。");
    s.say("zhou", &LI, "太好了，老谢要高兴坏了。");
    s.who_is_online("li", 10_008, 3, 1);
    s.who_is_online("li", 10_003, 2, 2);
    s.who_is_online("li", 10_003, 0, 2);
    s.who_is_online("li", 10_003, 9, 5);
}

fn lists_and_searches(s: &mut Story) {
    s.scene(
        (12, 11, 30),
        "Searches: good ones in two languages, and some that are not understood.",
    );
    for statement in [
        "SELECT number, nickname, city FROM users WHERE hobbies LIKE '%无线电%'",
        "SELECT * FROM users WHERE online = 1 AND age BETWEEN 20 AND 40 ORDER BY nickname;",
        "select * from users where not (gender = 1 or gender = 2) and number >= 10001",
        "SELECT nickname FROM users WHERE school = '临河二中' OR description LIKE '%rubber keys%'",
        "SELECT * FROM users WHERE nickname IN ('mandy', 'Tomas', '小胖') ORDER BY age LIMIT 2",
        "SELECT * FROM users WHERE nickname LIKE '老_'",
        "SELECT * FROM users WHERE age > 150",
    ] {
        s.search("mandy", statement);
    }
    s.note("Not understood: no statement, no such column, a number beside text, something else.");
    for statement in [
        "who likes printers?",
        "SELECT password FROM users",
        "SELECT * FROM users WHERE phone = '555-0101'",
        "SELECT * FROM users WHERE age = 'old'",
        "SELECT * FROM users, groups",
        "DELETE FROM users",
        "",
    ] {
        s.search("mandy", statement);
    }
    s.search("mandy", "SELECT *\nFROM users");
    s.test("mandy");
    s.ask_friend("mandy", &TOMAS, "");
    s.ask_friend("mandy", &PANG, "");
    s.answer("tomas", &MANDY, 1);
    s.say("mandy", &TOMAS, "You are the one with the printer? My pupils can hear it in class.");
    s.say("tomas", &MANDY, "It is a good printer. Nine pins, every one of them honest.");
    s.add("tomas", &MANDY);
    s.answer("mandy", &TOMAS, 1);
}

fn the_meeting(s: &mut Story) {
    s.scene(
        (12, 14, 0),
        "The first meeting of the Old Machines Club. The librarian keeps the minutes by broadcast; \
         she has put the members into a group of her list.",
    );
    for name in ["zhou", "xie", "mandy", "pang", "tomas", "zhen", "qing-2", "li", "printer"] {
        s.pass(800);
        s.ask(name, Request::Test);
    }
    s.move_friends("zhou", &[(&PANG, 3), (&TOMAS, 2), (&LI, 2), (&PANG, 2), (&ZHEN, 3)]);
    s.tell_all("zhou", 2, "大家好！老机器俱乐部现在开始。Welcome to the Old Machines Club!");
    s.tell_all("zhou", 2, "今天三台机器：老谢的8位机、小李的8086、Mandy's 48K.");
    s.say("xie", &ZHOU, "电视有图像了！雪花里有字。");
    s.tell_all("zhou", 2, "老谢那台开机了，掌声！ It says READY.");
    s.all_say(
        &ZHOU,
        &[
            ("mandy", "Mine loads! He turned the screw and it loads! 谢老师万岁"),
            ("li", "8086自检通过，640K，一个坏扇区都没有。"),
            ("pang", "我打到第一百二十行了！！手酸"),
            ("tomas", "May I print the listing? 200 lines, 4 pages, 3 minutes of music."),
        ],
    );
    s.say("zhou", &TOMAS, "Please do.");
    s.tell_all("zhou", 0, "图书馆通知：今晚闭馆延至八点，二楼照常开放。");
    s.say("zhou", &XIE, MINUTES);
    s.say("zhou", &MANDY, MINUTES);
    s.say("zhou", &LI, MINUTES);
    s.note("A group without friends hears nothing, a group that is not there is refused.");
    s.add_group("zhou", "下次 next time");
    s.tell_all("zhou", 4, "没有人在听");
    s.tell_all("zhou", 5, "hello?");
    s.tell_all("zhou", 2, "");
    s.ask("zhou", Request::DeleteGroup { group: GroupNumber(3) });
    s.ask("zhou", Request::AddGroup { name: "借书证 cards".as_bytes() });
    s.say("li", &XIE, "谢工，您那个橡皮筋皮带转速偏快百分之三，我用频率计量的。");
    s.say("xie", &LI, "难怪音调高。年轻人眼睛好，来加个好友。");
    s.add("xie", &LI);
    s.answer("li", &XIE, 1);
    s.say("xie", &LI, "你那台8086哪里来的？");
    s.say("li", &XIE, "学校仓库，本来要当废铁卖，三块钱一斤。");
    s.say("xie", &LI, "可惜了那些没抢下来的。");
}

const MINUTES: &str = "老机器俱乐部 第一次活动 纪要 / Minutes of the first meeting\r\n\
    \r\n\
    一、到场：周、谢、Mandy、小胖、Tomas、李，门外看热闹的读者若干。\r\n\
    二、开机的机器三台，冒烟的零台。Three machines started, none smoked.\r\n\
    三、谢老师讲磁头方位角：用小螺丝刀慢慢转，听最高的那个音。\r\n\
        The azimuth of a tape head: turn the small screw slowly and listen for the highest tone. \
        Mark where the screw was before you begin. Do not do this to a tape that you borrowed.\r\n\
    四、小胖输入了两百行程序，第一百七十三行把字母O打成了数字0，四个人找了二十分钟。\r\n\
        Line 173: the letter O is not the number 0. Four people, twenty minutes.\r\n\
    五、Tomas 演示九针打印机，请家长注意，色带洗不掉。The ribbon does not wash out.\r\n\
    六、决定：\r\n\
    \t1. 每周六下午两点，二楼；\r\n\
    \t2. 不拆别人的机器，拆自己的也要先拍照；\r\n\
    \t3. Every machine gets a card: year, owner, what was repaired, what not to touch;\r\n\
    \t4. 磁带一律做两份拷贝，一份放图书馆的铁柜里。\r\n\
    七、下次：软盘的保存，请李科准备。Next time: how to keep floppy disks alive.";

fn a_nuisance(s: &mut Story) {
    s.scene(
        (12, 15, 0),
        "Somebody called sparrow bothers Xiaopang, who tells the librarian. She is the operator: she \
         looks in, openly, and stops again. Nobody else may do that.",
    );
    s.connect("sparrow", STRANGER);
    s.register("sparrow", &SPARROW);
    s.log_in("sparrow", &SPARROW, 1);
    s.add("sparrow", &PANG);
    s.say("sparrow", &PANG, "小朋友，把你家电话告诉我，送你游戏币");
    s.say("pang", &ZHOU, "周阿姨，有个sparrow问我家电话");
    s.say("zhou", &PANG, "别告诉他。我看一下，接下来的话我能看到，你知道就好。");
    let watch = |number| Request::Monitor { watched: ServiceNumber(number) };
    s.ask("zhou", watch(SPARROW.number));
    s.ask("zhou", watch(SPARROW.number));
    s.ask("zhou", watch(77_777));
    s.ask("xie", watch(SPARROW.number));
    s.say("sparrow", &PANG, "不给？那你妈妈的密码呢");
    s.say("pang", &SPARROW, "周阿姨说不可以");
    s.say("sparrow", &MANDY, "hello pretty, send me your password, i am the administrator");
    s.say("mandy", &SPARROW, "No, you are not.");
    s.say("zhou", &SPARROW, "我是管理员。你刚才的话我都看到了。请不要再来打扰会员。");
    s.say("sparrow", &ZHOU, "...");
    s.ask("zhou", watch(0));
    s.ask("zhou", watch(0));
    s.say("sparrow", &PANG, "告状精");
    s.ask("pang", Request::DeleteFriend { friend: ServiceNumber(SPARROW.number) });
    s.say("zhou", &PANG, "好了。下次还来我就关他的号。");
    s.end("sparrow");
}

fn files(s: &mut Story) {
    s.scene(
        (12, 16, 0),
        "Files: Xiaopang's program to Lao Xie in three pieces, one that is refused, one that its \
         sender takes back, and one that is empty.",
    );
    let program =
        b"10 REM GUESS\r\n20 N=INT(RND(1)*100)\r\n30 INPUT G\r\n40 IF G<N THEN PRINT \"TOO \
        SMALL\":GOTO 30\r\n50 IF G>N THEN PRINT \"TOO BIG\":GOTO 30\r\n60 PRINT \"OK\"\r\n";
    s.offer("pang", &XIE, "猜数字.bas", program.len());
    s.answer_file("xie", &PANG, 1);
    for piece in program.chunks(60) {
        s.piece("pang", &XIE, piece);
    }
    s.say("xie", &PANG, "收到了，一百多个字节。第40行写得好。");
    s.offer("pang", &XIE, "作业答案.txt", 2_048);
    s.answer_file("xie", &PANG, 0);
    s.say("xie", &PANG, "这个不收，自己做。");
    s.offer("mandy", &TOMAS, "manual.ps", 700_000);
    s.answer_file("tomas", &MANDY, 1);
    s.piece("mandy", &TOMAS, b"%!PS-Adobe-2.0\r\n");
    s.answer_file("mandy", &TOMAS, 0);
    s.say("mandy", &TOMAS, "Stopped it, wrong file. That was all my holiday photos.");
    s.offer("li", &ZHOU, "LOCK", 0);
    s.answer_file("zhou", &LI, 1);
    s.say("zhou", &LI, "空文件？");
    s.say("li", &ZHOU, "对，有它在就说明有人在用。");
}

fn files_that_fail(s: &mut Story) {
    s.scene(
        (12, 16, 20),
        "Files that do not come through: wrong names, nobody there, too much at once, no offer, too \
         long a piece, a connection that drops.",
    );
    s.offer("pang", &XIE, "../autoexec.bat", 10);
    s.offer("pang", &XIE, "..", 10);
    s.offer("pang", &XIE, "", 10);
    s.offer("pang", &MANDY, "hello.txt", 5);
    s.mode("li", 2);
    s.offer("zhou", &LI, "floppies.txt", 5);
    s.mode("li", 1);
    s.answer_file("xie", &PANG, 1);
    s.answer_file("xie", &PANG, 0);
    s.answer_file("xie", &PANG, 7);
    s.piece("pang", &XIE, b"nobody asked for this");
    s.offer("pang", &XIE, "one.bas", 10);
    s.offer("pang", &XIE, "two.bas", 10);
    s.piece("pang", &XIE, b"too early");
    s.answer_file("xie", &PANG, 1);
    s.answer_file("xie", &PANG, 1);
    s.piece("pang", &XIE, b"much too long for it");
    s.piece("pang", &XIE, b"0123456789");
    s.note("Frog's connection drops while Xiaopang still sends; the offer to Frog ends with it.");
    s.offer("pang", &QING, "sound.wav", 90_000);
    s.answer_file("qing-2", &PANG, 1);
    s.piece("pang", &QING, &[0x52, 0x49, 0x46, 0x46, 0x00, 0x80, 0x7F, 0x80]);
    s.raw("qing-2", &[0x81, 0x03, 0x01, 0x03, 0, 0, 0, 40, 0, 0, 0x27, 0x17]);
    s.end("qing-2");
    s.piece("pang", &QING, &[0x81; 8]);
    s.test("pang");
}

fn the_evening(s: &mut Story) {
    s.scene(
        (12, 16, 55),
        "They leave one after the other. Xiaopang forgets to log out in the library and logs in at \
         home, which ends the session of the terminal.",
    );
    s.say("tomas", &ZHOU, "I go. The printer stays on, it likes to be warm.");
    s.mode("tomas", 4);
    s.end("tomas");
    s.say("mandy", &ZHOU, "再见！See you tomorrow.");
    s.end("mandy");
    s.say("zhen", &ZHOU, "海报印好了，放你桌上。关店了。");
    s.mode("zhen", 4);
    s.end("zhen");
    s.connect("pang-home", HOME_PANG);
    s.try_log_in("pang-home", PANG.number, "sample-gnap", 0);
    s.log_in("pang-home", &PANG, 0);
    s.end("pang");
    s.say("pang-home", &ZHOU, "阿姨，我在图书馆忘退出了！");
    s.say("zhou", &PANG, "看到了，那边自动断了，放心。");
    s.note("Li logs out and in again on one connection, then out for good.");
    s.mode("li", 4);
    s.log_in("li", &LI, 1);
    s.mode("li", 4);
    s.end("li");
    s.say("xie", &ZHOU, "我也下了，电话费要紧。");
    s.end("xie");
    s.test("zhou");
    s.test("printer");
}

fn the_mailbox(s: &mut Story) {
    s.scene(
        (12, 17, 25),
        "Messages to those who are gone wait for them. Sparrow, back again, fills Zhen's mailbox; \
         from then on she is left out, until she comes back on Sunday.",
    );
    s.say("zhou", &XIE, "谢老师，您的备用保险丝忘在二楼了，我收在抽屉里。");
    s.say("pang-home", &XIE, "谢爷爷我奶奶也想学电脑，行吗");
    s.tell_all("zhou", 2, "明天上午十点，二楼，接着修软驱。Sunday 10 am, floppy drives.");
    s.connect("sparrow-2", STRANGER);
    s.log_in("sparrow-2", &SPARROW, 0);
    for text in ["硒鼓多少钱", "墨粉多少钱", "复印一张多少钱", "彩色的呢", "在吗", "在吗？"]
    {
        s.say("sparrow-2", &ZHEN, text);
    }
    for text in ["老板", "老板在吗", "能便宜吗", "五毛太贵", "三毛", "两毛", "一毛", "白送"]
    {
        s.say("sparrow-2", &ZHEN, text);
    }
    s.end("sparrow-2");
    s.tell_all("zhou", 1, "（只有阿珍在这个组里）");
    s.tell_all("zhou", 0, "晚安！Good night, all machines off.");
    s.ask_friend("pang-home", &ZHEN, "阿姨我明天还海报钱");
    s.mode("zhou", 3);
    s.say("pang-home", &ZHOU, "阿姨晚安");
    s.end("pang-home");
    s.mode("zhou", 4);
    s.end("zhou");
    s.end("printer");
}
