//! The people of the sample conversation, all of them invented, and where their connections come from.

use oicq::codec::profile::Profile;

use crate::story::Person;

/// Terminals in the library's reading room.
pub const LIBRARY: [u8; 4] = [192, 0, 2, 10];
pub const LIBRARY_2: [u8; 4] = [192, 0, 2, 11];
/// Dial-up lines at home.
pub const HOME_XIE: [u8; 4] = [192, 0, 2, 21];
pub const HOME_MANDY: [u8; 4] = [192, 0, 2, 22];
pub const HOME_PANG: [u8; 4] = [192, 0, 2, 23];
pub const COPY_SHOP: [u8; 4] = [192, 0, 2, 31];
pub const WEB_SERVER: [u8; 4] = [192, 0, 2, 80];
pub const SCHOOL: [u8; 4] = [192, 0, 2, 40];
pub const HOTEL: [u8; 4] = [192, 0, 2, 51];
pub const STRANGER: [u8; 4] = [192, 0, 2, 66];

const NOBODY: Profile<'_> = Profile {
    nickname: b"",
    portrait: 0,
    gender: 0,
    age: 0,
    real_name: b"",
    country: 0,
    province: 0,
    city: b"",
    address: b"",
    zip_code: b"",
    education: 0,
    school: b"",
    occupation: 0,
    phone: b"",
    pager: b"",
    email: b"",
    hobbies: b"",
    description: b"",
};

/// The librarian, who runs the server and the club.
pub const ZHOU: Person = Person {
    number: 10_001,
    password: "sample-zhou",
    authentication: 1,
    profile: Profile {
        nickname: "周馆员".as_bytes(),
        portrait: 3,
        gender: 2,
        age: 41,
        real_name: "周晓芸".as_bytes(),
        country: 86,
        province: 33,
        city: "临河镇".as_bytes(),
        address: "图书馆街1号".as_bytes(),
        zip_code: b"000000",
        education: 4,
        occupation: 12,
        phone: b"555-0101",
        email: b"zhou@library.example",
        hobbies: "修书、种花、听老收音机".as_bytes(),
        description: "临河镇图书馆。老机器俱乐部每周六下午两点在二楼。\nOld machines are welcome."
            .as_bytes(),
        ..NOBODY
    },
};

/// A retired radio engineer with a shelf of home computers.
pub const XIE: Person = Person {
    number: 10_002,
    password: "sample-xie",
    authentication: 0,
    profile: Profile {
        nickname: "老谢".as_bytes(),
        portrait: 17,
        gender: 1,
        age: 68,
        real_name: "谢守成".as_bytes(),
        country: 86,
        province: 33,
        city: "临河镇".as_bytes(),
        phone: b"555-0102",
        pager: b"0102",
        education: 5,
        occupation: 3,
        hobbies: "无线电，8位机，修磁带机".as_bytes(),
        description: "退休工程师。家里有一台1983年的机器，还能开机。".as_bytes(),
        ..NOBODY
    },
};

/// Teaches English at the middle school, and grew up with a home computer.
pub const MANDY: Person = Person {
    number: 10_003,
    password: "sample-mandy",
    authentication: 1,
    profile: Profile {
        nickname: b"mandy",
        portrait: 42,
        gender: 2,
        age: 29,
        real_name: b"Amanda Example",
        country: 44,
        province: 33,
        city: b"Linhe",
        school: b"Linhe No. 2 Middle School",
        education: 5,
        occupation: 7,
        email: b"mandy@school.example",
        hobbies: b"text adventures, tea, hill walking",
        description: b"My first computer had 48K and rubber keys.\r\nIt still works!",
        ..NOBODY
    },
};

/// A pupil who wants to play everything that there is.
pub const PANG: Person = Person {
    number: 10_004,
    password: "sample-pang",
    authentication: 0,
    profile: Profile {
        nickname: "小胖".as_bytes(),
        portrait: 88,
        gender: 1,
        age: 13,
        province: 33,
        city: "临河镇".as_bytes(),
        school: "临河二中".as_bytes(),
        education: 2,
        hobbies: "打游戏!!!".as_bytes(),
        ..NOBODY
    },
};

/// Repairs printers, travels, is in town for a month.
pub const TOMAS: Person = Person {
    number: 10_005,
    password: "sample-tomas",
    authentication: 1,
    profile: Profile {
        nickname: b"Tomas",
        portrait: 5,
        gender: 1,
        age: 35,
        real_name: "Tomáš Vzor".as_bytes(),
        country: 42,
        city: b"Brno / Linhe",
        occupation: 9,
        hobbies: b"printers. Only printers.",
        ..NOBODY
    },
};

/// Has the copy shop beside the library; strangers with questions about toner made her careful.
pub const ZHEN: Person = Person {
    number: 10_006,
    password: "sample-zhen",
    authentication: 2,
    profile: Profile {
        nickname: "阿珍打字复印".as_bytes(),
        portrait: 61,
        gender: 2,
        age: 33,
        real_name: "何阿珍".as_bytes(),
        province: 33,
        city: "临河镇".as_bytes(),
        address: "图书馆街3号".as_bytes(),
        phone: b"555-0106",
        occupation: 20,
        description: "打字 复印 名片 修硒鼓".as_bytes(),
        ..NOBODY
    },
};

/// A student who comes through the web page of a café.
pub const QING: Person = Person {
    number: 10_007,
    password: "sample-qing",
    authentication: 0,
    profile: Profile {
        nickname: "青蛙Frog".as_bytes(),
        portrait: 120,
        age: 20,
        province: 31,
        city: "上海".as_bytes(),
        school: "某大学计算机系".as_bytes(),
        education: 4,
        hobbies: "BBS, 汇编".as_bytes(),
        ..NOBODY
    },
};

/// Looks after the school's network.
pub const LI: Person = Person {
    number: 10_008,
    password: "sample-kernel",
    authentication: 1,
    profile: Profile {
        nickname: b"kernel_li",
        portrait: 255,
        gender: 1,
        age: 27,
        real_name: "李科".as_bytes(),
        province: 33,
        city: "临河镇".as_bytes(),
        occupation: 3,
        education: 5,
        email: b"li@school.example",
        hobbies: b"kernels, cables, quiet",
        ..NOBODY
    },
};

/// The line printer in the reading room, which prints what it is sent.
pub const PRINTER: Person = Person {
    number: 10_009,
    password: "sample-printer",
    authentication: 0,
    profile: Profile {
        nickname: "阅览室打印机 line printer".as_bytes(),
        portrait: 200,
        city: "临河镇".as_bytes(),
        description: b"Send me a text file. 80 columns, no pictures.",
        ..NOBODY
    },
};

/// Somebody who came to be a nuisance.
pub const SPARROW: Person = Person {
    number: 10_010,
    password: "sample-sparrow",
    authentication: 0,
    profile: Profile { nickname: b"sparrow", ..NOBODY },
};

/// Xiaopang's grandmother, who joins on Sunday.
pub const WANG: Person = Person {
    number: 10_011,
    password: "sample-wang",
    authentication: 1,
    profile: Profile {
        nickname: "王奶奶".as_bytes(),
        portrait: 9,
        gender: 2,
        age: 74,
        real_name: "王桂香".as_bytes(),
        province: 33,
        city: "临河镇".as_bytes(),
        hobbies: "织毛衣，越剧".as_bytes(),
        ..NOBODY
    },
};
