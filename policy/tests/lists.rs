//! A list hands out the items that were put into it, and says so when its
//! bytes are none.

use launcher_policy::limits::Rlimit;
use launcher_policy::{List, Text};

mod policies;

use policies::list;

const LIMIT: Rlimit = Rlimit { resource: 7, soft: 256, hard: u64::MAX };

#[test]
fn a_list_gives_back_its_items_in_order() {
    let items = [LIMIT, Rlimit { resource: 0, soft: 0, hard: 0 }, LIMIT];
    let list = list(items);
    assert_eq!(list.iter().collect::<Vec<_>>(), items);
    assert_eq!(list.count(), 3);
    assert!(!list.is_empty());
}

#[test]
fn a_list_of_texts_borrows_them() {
    let list = list([Text::new(c""), Text::new(c"a b"), Text::new(c"\xff")]);
    let texts: Vec<_> = list.iter().map(Text::to_bytes).collect();
    assert_eq!(texts, [b"".as_slice(), b"a b", b"\xff"]);
    let bytes = list.as_bytes().as_ptr_range();
    assert!(texts.iter().all(|text| bytes.contains(&text.as_ptr())));
}

#[test]
fn the_empty_list_has_no_items() {
    assert_eq!(list::<Rlimit>([]), List::EMPTY);
    assert!(List::<Rlimit>::EMPTY.is_empty());
    assert_eq!(List::<Rlimit>::EMPTY.iter().next(), None);
    assert_eq!(List::<Rlimit>::default().check(|_| Err(postcard::Error::WontImplement)), Ok(()));
}

#[test]
fn a_list_survives_the_wire() {
    for items in [list([]), list([LIMIT]), list([LIMIT; 1000])] {
        let bytes = postcard::to_stdvec(&items).expect("a list is encoded into memory");
        assert_eq!(postcard::from_bytes::<List<'_, Rlimit>>(&bytes), Ok(items));
    }
}

#[test]
fn a_list_is_shown_as_its_items() {
    assert_eq!(format!("{:?}", list([Text::new(c"a"), Text::new(c"b")])), r#"["a", "b"]"#);
}

#[test]
fn checking_visits_every_item_until_one_is_refused() {
    let list = list([1_u8, 2, 3, 4]);
    let mut visited = Vec::new();
    let refused = list.check(|item| {
        visited.push(item);
        if item == 3 { Err(postcard::Error::WontImplement) } else { Ok(()) }
    });
    assert_eq!((visited, refused), (vec![1, 2, 3], Err(postcard::Error::WontImplement)));
}

#[test]
fn an_item_that_is_cut_is_refused_by_the_check_and_ends_the_walk() {
    let whole = list([LIMIT, LIMIT]);
    let (cut, _) = whole.as_bytes().split_at(whole.as_bytes().len() - 1);
    let cut = List::<Rlimit>::from_bytes(cut);
    assert!(cut.check(|_| Ok::<(), postcard::Error>(())).is_err());
    assert_eq!(cut.count(), 1);
}

#[test]
fn items_of_no_bytes_are_refused_instead_of_met_for_ever() {
    let endless = List::<()>::from_bytes(&[0]);
    assert!(endless.check(|()| Ok::<(), postcard::Error>(())).is_err());
}
