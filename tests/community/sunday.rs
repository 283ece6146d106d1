//! Sunday: floppy drives, a grandmother, and a stranger at night.

use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::{Kind, Request};

use crate::people::{
    COPY_SHOP, HOME_MANDY, HOME_PANG, HOME_XIE, HOTEL, LI, LIBRARY, LIBRARY_2, MANDY, PANG,
    PRINTER, QING, SCHOOL, SPARROW, STRANGER, TOMAS, WANG, WEB_SERVER, XIE, ZHEN, ZHOU,
};
use crate::story::{Story, send};

pub fn tell(s: &mut Story) {
    the_morning(s);
    a_new_password(s);
    the_grandmother(s);
    floppy_drives(s);
    the_student_arrives(s);
    programs_gone_wrong(s);
    lines_that_drop(s);
    pages_for_the_wall(s);
    friends_no_more(s);
    the_last_evening(s);
    the_stranger(s);
    goodbye(s);
}

fn the_morning(s: &mut Story) {
    s.scene((13, 8, 20), "They come back one by one, and what waited for them arrives.");
    s.connect("zhou-sun", LIBRARY);
    s.log_in("zhou-sun", &ZHOU, 0);
    s.connect_as("printer-sun", Kind::Print, LIBRARY);
    s.log_in("printer-sun", &PRINTER, 0);
    s.connect("xie-sun", HOME_XIE);
    s.log_in("xie-sun", &XIE, 0);
    s.say("xie-sun", &ZHOU, "早。保险丝看到了，谢谢。昨晚梦见第一百七十三行。");
    s.say("zhou-sun", &XIE, "哈哈哈，我也是。");
    s.connect("zhen-sun", COPY_SHOP);
    s.log_in("zhen-sun", &ZHEN, 0);
    s.say("zhen-sun", &ZHOU, "这个sparrow半夜问了我十几遍硒鼓！！");
    s.say("zhou-sun", &ZHEN, "我昨天就说了他一次。他在你信箱里塞满了，我的晚安你都没收到。");
    s.answer("zhen-sun", &PANG, 1);
    s.say("zhen-sun", &PANG, "行，加你了，海报钱今天带来。");
    s.say("zhen-sun", &SPARROW, "本店不零售硒鼓。不要再问。");
    s.connect("pang-sun", HOME_PANG);
    s.log_in("pang-sun", &PANG, 0);
    s.say("pang-sun", &ZHEN, "带！六块钱！");
    s.tell_all("pang-sun", 0, "大家早上好今天修什么");
    s.who_is_online("pang-sun", 99_999, 255, 1);
}

fn a_new_password(s: &mut Story) {
    s.scene(
        (13, 8, 50),
        "Mandy has told her password to a pupil by mistake and changes it; the old one no longer \
         works. A new one that is too short is refused.",
    );
    s.connect("mandy-sun", HOME_MANDY);
    s.log_in("mandy-sun", &MANDY, 0);
    let new_password = "sample-mandy-2";
    let mut changed = MANDY.account();
    changed.password = Secret::new(b"48K");
    s.ask("mandy-sun", Request::ChangeProfile(changed));
    changed.password = Secret::new(new_password.as_bytes());
    changed.profile.description =
        b"My first computer had 48K and rubber keys.\r\nIt works again, thanks to Mr Xie!";
    changed.profile.hobbies = b"text adventures, tea, hill walking, azimuth screws";
    s.ask("mandy-sun", Request::ChangeProfile(changed));
    s.mode("mandy-sun", 4);
    s.try_log_in("mandy-sun", MANDY.number, MANDY.password, 0);
    s.try_log_in("mandy-sun", 10_404, new_password, 0);
    let renewed = crate::story::Person { password: new_password, ..MANDY };
    s.log_in("mandy-sun", &renewed, 0);
    s.look_at("mandy-sun", &MANDY);
    s.look_at("xie-sun", &MANDY);
    s.look_at("pang-sun", &MANDY);
    s.say("mandy-sun", &XIE, "Good morning! The 48K loaded twice in a row last night. Twice!");
    s.say("xie-sun", &MANDY, "Good. Mark the screw with nail polish.");
    s.say("mandy-sun", &XIE, "指甲油？ I have red.");
    s.say("xie-sun", &MANDY, "Red is the standard.");
}

fn the_grandmother(s: &mut Story) {
    s.scene(
        (13, 9, 15),
        "Xiaopang's grandmother registers in the library, with his help. Her name is too long for \
         the client's first try.",
    );
    s.connect("wang", LIBRARY_2);
    let mut long = WANG.account();
    let name = "王奶奶".repeat(8);
    long.profile.nickname = name.as_bytes();
    s.ask("wang", Request::Register(long));
    s.register("wang", &WANG);
    s.log_in("wang", &WANG, 0);
    s.say("wang", &PANG, "小胖我是奶奶");
    s.say("pang-sun", &WANG, "奶奶！！你打字好快");
    s.say("wang", &PANG, "找了半天的键");
    s.add("wang", &PANG);
    s.ask_friend("pang-sun", &WANG, "奶奶加我");
    s.answer("wang", &PANG, 1);
    s.ask_friend("zhou-sun", &WANG, "王奶奶好，图书馆小周");
    s.answer("wang", &ZHOU, 1);
    s.ask_friend("wang", &ZHOU, "小周你好我是王桂香");
    s.answer("zhou-sun", &WANG, 1);
    s.say("wang", &ZHOU, "以前在电报局打过字 三十年没打了");
    s.say("zhou-sun", &WANG, "怪不得！那您和谢老师是同行。");
    s.add("wang", &XIE);
    s.say("wang", &XIE, "老谢 你还欠我一包茶叶 一九七一年的");
    s.say("xie-sun", &WANG, "王桂香？！电报局的王桂香？");
    s.say("wang", &XIE, "是我");
    s.say("xie-sun", &WANG, "茶叶我带去，利息算两包。");
    s.ask_friend("xie-sun", &WANG, "还茶叶");
    s.answer("wang", &XIE, 1);
    s.add_group("wang", "电报局");
    s.add_group("wang", "家里人");
    s.move_friends("wang", &[(&XIE, 2), (&PANG, 3)]);
    s.ask("wang", Request::RenameGroup { group: GroupNumber(3), name: "乖孙".as_bytes() });
    s.tell_all("wang", 3, "奶奶会群发了");
    s.search("wang", "SELECT * FROM users WHERE city = '临河镇' AND age >= 60");
}

fn floppy_drives(s: &mut Story) {
    s.scene((13, 10, 0), "Floppy drives, second floor. Li reports from the bench.");
    s.connect("li-sun", SCHOOL);
    s.log_in("li-sun", &LI, 0);
    s.connect("tomas-sun", HOTEL);
    s.log_in("tomas-sun", &TOMAS, 0);
    s.add_group("li-sun", "club");
    s.move_friends("li-sun", &[(&ZHOU, 2)]);
    s.ask_friend("li-sun", &TOMAS, "drive alignment");
    s.answer("tomas-sun", &LI, 1);
    s.ask_friend("li-sun", &MANDY, "drive alignment");
    s.answer("mandy-sun", &LI, 0);
    s.say("mandy-sun", &LI, "Wrong button, sorry! Ask again?");
    s.ask_friend("li-sun", &MANDY, "drive alignment, second try");
    s.answer("mandy-sun", &LI, 1);
    s.add("li-sun", &XIE);
    s.move_friends("li-sun", &[(&TOMAS, 2), (&MANDY, 2), (&XIE, 2)]);
    s.tell_all("li-sun", 2, "A盘能读，B盘转速只有285，皮带滑了。Drive B turns too slowly.");
    s.tell_all("li-sun", 2, FLOPPY_NOTES);
    s.say("xie-sun", &LI, "电位器在背面，贴一张频闪盘，日光灯下看条纹不动就对了。");
    s.say("li-sun", &XIE, "条纹停了！300转整。");
    s.say(
        "tomas-sun",
        &LI,
        "I have rubber belts in 3 sizes, from printers. Of course from printers.",
    );
    s.say("li-sun", &TOMAS, "Size 2 fits. Thank you!");
    s.tell_all("li-sun", 2, "B盘修好了。四十张盘读出三十七张。37 of 40 disks read.");
    s.say("zhou-sun", &LI, "第三十八张呢？");
    s.say("li-sun", &ZHOU, "发霉了，先拿去阴干，不抢救就没了。");
    s.say("mandy-sun", &LI, "What is on them?");
    s.say("li-sun", &MANDY, "成绩表、校歌、一个叫XIANG.COM的东西，不敢运行。");
    s.say("pang-sun", &LI, "运行！运行！");
    s.say("li-sun", &PANG, "先做两份拷贝，纪要第六条。");
}

const FLOPPY_NOTES: &str = "软盘保存笔记 / Notes on keeping floppy disks alive (draft 1)\r\n\
    1. 先清洁磁头，再放进珍贵的盘。Clean the heads first, then insert what you love.\r\n\
    2. 发霉的盘不要放进好的软驱。A mouldy disk ruins a good drive, and the drive the next disk.\r\n\
    3. 每张盘读三遍，三遍一样才算数。Read three times; believe what comes three times the same.\r\n\
    4. 读不出的扇区记下来，填零会骗人。Note what cannot be read. Filled-in zeros lie.\r\n\
    5. 写保护贴不要省。Write-protect first.\r\n\
    6. 两份拷贝，两个地方，写上日期和谁做的。Two copies, two places, a date and a name.";

fn the_student_arrives(s: &mut Story) {
    s.scene(
        (13, 11, 10),
        "Frog has taken the bus to town and uses the library's own web page. The measurements go to \
         Lao Xie's friends as a file.",
    );
    s.connect_as("qing-sun", Kind::Web, WEB_SERVER);
    s.log_in("qing-sun", &QING, 1);
    s.mode("qing-sun", 1);
    s.add("xie-sun", &QING);
    s.say("qing-sun", &XIE, "前辈我到了，在一楼，找不到楼梯。");
    s.say("xie-sun", &QING, "听打印机的声音，往响的地方走。");
    let timing = "ROM读时序 2003-04-13\nADDR->DATA 310 ns\nCLK 1.0227 MHz\n室温21度\n";
    s.offer("xie-sun", &QING, "时序.txt", timing.len());
    s.answer_file("qing-sun", &XIE, 1);
    let (first, second) = timing.as_bytes().split_at(33);
    s.piece("xie-sun", &QING, first);
    s.piece("xie-sun", &QING, second);
    s.say("qing-sun", &XIE, "收到！模拟器今晚就能跑到READY了。");
    s.note("The other way round Frog is offered nothing that fits: no friend, no file.");
    s.offer("qing-sun", &ZHOU, "emu.zip", 120_000);
    s.offer("qing-sun", &PRINTER, "list.txt", 20);
    s.answer_file("printer-sun", &QING, 0);
    s.say("printer-sun", &QING, "no paper");
    s.say("qing-sun", &ZHOU, "老师，打印机没纸了");
    s.say("zhou-sun", &QING, "来了来了。");
    s.add("zhou-sun", &QING);
    s.move_friends("zhou-sun", &[(&QING, 2), (&WANG, 2)]);
    s.tell_all("zhou-sun", 2, "欢迎青蛙和王奶奶！Welcome, Frog and Grandma Wang!");
    s.search(
        "qing-sun",
        "SELECT nickname FROM users WHERE online <> 0 ORDER BY number DESC LIMIT 3",
    );
}

fn programs_gone_wrong(s: &mut Story) {
    s.scene(
        (13, 12, 30),
        "Programs that are no clients: a browser, a scanner, a client with a bad length, one with a \
         byte too many, one that says it is a server. Each is told why, and closed.",
    );
    s.connect("browser", HOTEL);
    s.raw("browser", b"GET / HTTP/1.0\r\nHost: library.example\r\n\r\n");
    s.end("browser");
    s.connect("scanner", STRANGER);
    s.raw("scanner", &[0x81, 0x06]);
    s.end("scanner");
    s.connect("no-server", STRANGER);
    s.raw("no-server", &[0x81, 0x0A, 0x0A, 0x16, 0, 0, 0, 0]);
    s.end("no-server");
    s.connect("too-large", LIBRARY_2);
    s.raw("too-large", &[0x81, 0x0A, 0x01, 0x01, 0, 0, 0x40, 0]);
    s.end("too-large");
    s.connect("too-long", LIBRARY_2);
    s.raw("too-long", &[0x81, 0x0A, 0x01, 0x16, 0, 0, 0, 5, 0, 0, 0, 0, 0]);
    s.end("too-long");
    s.connect("too-short", LIBRARY_2);
    s.raw("too-short", &[0x81, 0x0A, 0x01, 0x02, 0, 0, 0, 3, 0, 0, 0x27]);
    s.end("too-short");
    s.connect("test-as-other", LIBRARY_2);
    s.ask_as("test-as-other", 10_001, Request::Test);
    s.end("test-as-other");
    s.connect("unknown-first", LIBRARY_2);
    s.raw("unknown-first", &[0x81, 0x0A, 0x01, 0x0F, 0, 0, 0, 0]);
    s.ask("unknown-first", Request::WantExtensions { wanted: 0 });
    s.end("unknown-first");
}

fn lines_that_drop(s: &mut Story) {
    s.scene(
        (13, 13, 0),
        "The telephone exchange is being worked on: lines drop in the middle of a packet, and \
         Mandy's after an offer. What waits for her meanwhile, she gets when she is back.",
    );
    let half = s.bytes("xie-sun", XIE.number, send(ZHOU.number, "喂？喂？"));
    s.raw("xie-sun", &half[..half.len() - 5]);
    s.end("xie-sun");
    s.connect("xie-sun-2", HOME_XIE);
    s.raw("xie-sun-2", &[0x81, 0x0A, 0x01]);
    s.end("xie-sun-2");
    s.offer("mandy-sun", &TOMAS, "letter.txt", 300);
    s.end("mandy-sun");
    s.answer_file("tomas-sun", &MANDY, 1);
    s.say("tomas-sun", &MANDY, "Your offer came and went. Line trouble?");
    s.connect("xie-sun-3", HOME_XIE);
    s.log_in("xie-sun-3", &XIE, 0);
    s.say("xie-sun-3", &MANDY, "你那边也断了吧，整条街都在修电话。");
    s.say("xie-sun-3", &ZHOU, "我刚才说到一半断了：喂？");
    s.connect("mandy-sun-2", HOME_MANDY);
    s.try_log_in("mandy-sun-2", MANDY.number, "sample-mandy-2", 0);
    s.note("Her line drops again, before the client could tell her; she is hidden the next time.");
    s.end("mandy-sun-2");
    s.connect("mandy-sun-3", HOME_MANDY);
    let renewed = crate::story::Person { password: "sample-mandy-2", ..MANDY };
    s.log_in("mandy-sun-3", &renewed, 1);
    s.say("mandy-sun-3", &TOMAS, "I am here, hidden. Typing letters by candle light, nearly.");
    s.offer("tomas-sun", &MANDY, "belt-sizes.txt", 64);
    s.mode("mandy-sun-3", 3);
    s.offer("tomas-sun", &MANDY, "belt-sizes.txt", 36);
    s.answer_file("mandy-sun-3", &TOMAS, 1);
    s.piece("tomas-sun", &MANDY, b"1: 65 mm\r\n2: 70 mm\r\n3: 92 mm, hard\r\n");
    s.test("mandy-sun-3");
}

fn pages_for_the_wall(s: &mut Story) {
    s.scene(
        (13, 14, 0),
        "The cards for the machines are written, one message each, and read by those who know.",
    );
    let cards = [
        "卡片一 CARD 1\r\n机器：8位机，1983\r\n主人：老谢\r\n修过：电源电容两只，磁带机皮带\r\n不要碰：高压，\
         电视后盖\r\nDo not touch: the back of the television.",
        "卡片二 CARD 2\r\n机器：48K, rubber keys, 1982\r\n主人：mandy\r\n修过：磁头方位角，键盘薄膜\r\n不要碰：\
         红色指甲油的螺丝\r\nDo not touch: the screw with the red nail polish.",
        "卡片三 CARD 3\r\n机器：8086，两个软驱，1987\r\n主人：二中，李科代管\r\n修过：B盘皮带（来自打印机）\r\n不要碰：\
         XIANG.COM\r\nDo not run XIANG.COM.",
        "卡片四 CARD 4\r\n机器：九针打印机，1989\r\n主人：Tomas，暂存图书馆\r\n修过：什么都修过\r\n不要碰：色带\r\nDo \
         not touch: the ribbon. We mean it.",
        "卡片五 CARD 5\r\n机器：电报机，1956\r\n主人：王桂香（刚从床底下找出来的）\r\n修过：还没有\r\n不要碰：等老谢来\
         \r\nDo not touch: wait for Mr Xie.",
    ];
    for card in cards {
        s.tell_all("zhou-sun", 2, card);
    }
    s.note("Everybody has something to say at the same moment.");
    s.all_say(
        &ZHOU,
        &[
            ("xie-sun-3", "卡片一，1983年是买的，出厂是1982年底。"),
            ("li-sun", "卡片三没意见。XIANG.COM我看了，是校歌播放器。"),
            ("tomas-sun", "Card 4: \"everything\" is correct."),
            ("mandy-sun-3", "Card 2 is perfect. The nail polish is called Cherry Disk, no joke."),
            ("wang", "床底下还有一个 是收报的"),
            ("pang-sun", "奶奶你到底还有多少"),
            ("zhen-sun", "过塑一张五毛，给你们算四毛。"),
            ("qing-sun", "能不能拍照放到网上？"),
        ],
    );
    s.say("zhou-sun", &QING, "可以，先问主人。纪要再加一条。");
    s.say("zhou-sun", &ZHEN, "五张，四毛，成交。");
    s.offer("zhou-sun", &PRINTER, "cards.txt", 12);
    s.answer_file("printer-sun", &ZHOU, 1);
    s.piece("zhou-sun", &PRINTER, b"1 2 3 4 5\r\n");
    s.piece("zhou-sun", &PRINTER, b"\x0C");
}

fn friends_no_more(s: &mut Story) {
    s.scene(
        (13, 15, 0),
        "Lists are tidied up: friends deleted, who is none cannot be; answers that nobody waits for.",
    );
    let delete = |number| Request::DeleteFriend { friend: ServiceNumber(number) };
    s.ask("xie-sun-3", delete(LI.number));
    s.ask("xie-sun-3", delete(LI.number));
    s.say("xie-sun-3", &LI, "点错了，把你删了，再加一次。");
    s.ask_friend("xie-sun-3", &LI, "手滑");
    s.answer("li-sun", &XIE, 1);
    s.ask("pang-sun", delete(ZHOU.number));
    s.ask("pang-sun", delete(12));
    s.ask_friend("pang-sun", &ZHOU, "我不小心删的！！");
    s.ask_friend("pang-sun", &ZHOU, "真的是不小心");
    s.answer("zhou-sun", &PANG, 0);
    s.say("zhou-sun", &PANG, "点错了，手滑会传染。再来。");
    s.ask_friend("pang-sun", &ZHOU, "第三次");
    s.answer("zhou-sun", &PANG, 1);
    s.answer("zhou-sun", &PANG, 1);
    s.note("A reason with a bell in it, one that is too long; a number that nobody has.");
    s.ask_friend("pang-sun", &MANDY, "叮\u{7}");
    let long = "求求你".repeat(30);
    s.ask_friend("pang-sun", &MANDY, &long);
    s.ask_friend("pang-sun", &MANDY, "请加我，我会用两种语言说你好\nhello 你好");
    s.answer("mandy-sun-3", &PANG, 1);
    s.ask_friend("pang-sun", &crate::story::Person { number: 20_000, ..PANG }, "谁");
    let closed = Account { password: Secret::new(b""), authentication: 2, ..QING.account() };
    s.ask("qing-sun", Request::ChangeProfile(closed));
    s.ask_friend("wang", &QING, "小青蛙 来吃饭");
    s.say("wang", &QING, "加不上你 那就直接来吃饭");
    s.say("qing-sun", &WANG, "奶奶我来！我刚把设置改错了。");
    let mut odd = closed;
    odd.authentication = 9;
    s.ask("qing-sun", Request::ChangeProfile(odd));
}

fn the_last_evening(s: &mut Story) {
    s.scene((13, 17, 30), "Closing time. Some leave politely, some just switch off.");
    s.test("printer-sun");
    s.tell_all("zhou-sun", 0, "下周六见。Next Saturday, same floor, same smell.");
    s.say("tomas-sun", &ZHOU, "Next Saturday I bring the second printer.");
    s.say("zhou-sun", &TOMAS, "……第二台？");
    s.mode("tomas-sun", 4);
    s.end("tomas-sun");
    s.say("li-sun", &ZHOU, "软盘笔记定稿了，下周发。");
    s.end("li-sun");
    s.say("qing-sun", &XIE, "模拟器显示READY了！！！光标在闪！！！");
    s.say("xie-sun-3", &QING, "好。现在输入两百行。");
    s.end("qing-sun");
    s.say("wang", &PANG, "小胖 回家吃饭");
    s.say("pang-sun", &WANG, "奶奶再打十行");
    s.say("wang", &PANG, "一行也不行");
    s.mode("pang-sun", 4);
    s.end("pang-sun");
    s.mode("wang", 4);
    s.end("wang");
    s.mode("zhen-sun", 3);
    s.say("zhen-sun", &ZHOU, "过塑好了，五张，两块。");
    s.end("zhen-sun");
    s.mode("mandy-sun-3", 4);
    s.end("mandy-sun-3");
    s.say("zhou-sun", &MANDY, "你的红色指甲油忘在工作台上了。");
    s.say("zhou-sun", &WANG, "王奶奶，电报机谢老师看过了，能响。");
    s.tell_all("xie-sun-3", 0, "各位晚安，73。");
    s.end("xie-sun-3");
}

fn the_stranger(s: &mut Story) {
    s.scene(
        (13, 19, 40),
        "A stranger tries passwords on Lao Xie's number, five within a minute, and is then made to \
         wait. The librarian watches what reaches Lao Xie for a while; her line drops while she does.",
    );
    s.ask("zhou-sun", Request::Monitor { watched: ServiceNumber(XIE.number) });
    s.connect("stranger", STRANGER);
    for guess in ["123456", "xie123", "laoxie", "19350101", "password"] {
        s.try_log_in("stranger", XIE.number, guess, 0);
        s.pass(200);
    }
    let password = Secret::new(b"letmein");
    s.ask_as("stranger", XIE.number, Request::LogIn { password, mode: 0 });
    s.ask_as("stranger", XIE.number, Request::LogIn { password, mode: 0 });
    s.end("stranger");
    s.say("zhou-sun", &XIE, "谢老师，有人在猜您的密码，没猜中。明天您换一个长点的。");
    s.end("zhou-sun");
}

fn goodbye(s: &mut Story) {
    s.scene((13, 20, 30), "The librarian's last round: the printer is switched off.");
    s.connect("zhou-night", LIBRARY);
    s.log_in("zhou-night", &ZHOU, 1);
    s.say("zhou-night", &PRINTER, "good night");
    s.end("printer-sun");
    s.say("zhou-night", &PRINTER, "sleep well");
    s.say("zhou-night", &ZHOU, "备忘：下周买纸两箱，色带一条，茶叶问谢老师。");
    s.mode("zhou-night", 4);
    s.end("zhou-night");
}
