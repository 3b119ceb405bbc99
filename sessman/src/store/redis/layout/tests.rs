use super::*;
use crate::labels::Labels;
use crate::record::Mac;

fn record() -> Record {
    let at = Timestamp::from_millis;
    Record {
        handle: Handle::from([7; 12]),
        mark: Mark::from(*b"markmark"),
        secret_hash: SecretHash::from([9; 32]),
        user_id: Some("ada ü".into()),
        auth_time: Some(at(8)),
        data: Data::parse(r#"{"a":1}"#).unwrap(),
        metadata: Data::parse(r#"{"ip":"::1"}"#).unwrap(),
        created_at: at(1),
        updated_at: at(2),
        reset_at: at(3),
        last_activity: at(4),
        ttl: Duration::from_millis(5),
        ttl_source: TtlSource::Caller,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        expires_at: at(6),
        version: u64::MAX - 1,
        mac: None,
    }
}

fn sealed() -> Record {
    Record { mac: Some(Mac([3; 32])), ttl_source: TtlSource::Configured, ..record() }
}

/// What the version before wrote: it knows of no flags but those of the user and of the login.
fn written_before() -> Vec<u8> {
    let mut bytes = vec![1, 3];
    bytes.extend(b"markmark");
    bytes.extend([9; 32]);
    for number in [u64::MAX - 1, 1, 2, 5, 3, 4, 6, 8] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([0, 0, 0, 6, 0, 0, 0, 12]);
    bytes.extend("ada ü{\"ip\":\"::1\"}{\"a\":1}".as_bytes());
    bytes
}

#[test]
fn a_record_without_a_tail_is_as_the_version_before_wrote_it_but_for_two_flags() {
    let mut bytes = write(&record());
    assert_eq!(bytes[FLAGS], 3 + 4);
    bytes[FLAGS] = 3;
    assert_eq!(bytes, written_before());
    let unknown = Record { ttl_source: TtlSource::Unknown, ..record() };
    assert_eq!(write(&unknown), written_before());
    assert_eq!(read(record().handle, &written_before()).unwrap(), unknown);
}

#[test]
fn a_record_with_a_mac_has_a_tail_before_its_data() {
    let bytes = write(&sealed());
    assert_eq!((bytes[LAYOUT], bytes[FLAGS]), (2, 3 + 8));
    assert_eq!(bytes[TAIL_LENGTH..HEAD_2], [0, 0, 0, 35]);
    assert_eq!(&bytes[HEAD_2..HEAD_2 + 18], "ada ü{\"ip\":\"::1\"}".as_bytes());
    assert!(bytes.ends_with(br#"{"a":1}"#) && bytes.len() == HEAD_2 + 18 + 35 + 7);
    assert_eq!(read(sealed().handle, &bytes).unwrap(), sealed());
}

#[test]
fn what_is_before_the_data_is_enough_for_lists_and_counts() {
    for record in [record(), sealed()] {
        let bytes = write(&record);
        let data = data_at(&bytes).unwrap();
        assert_eq!(&bytes[data..], br#"{"a":1}"#);
        assert_eq!(data_at(&bytes[..HEAD_2]).unwrap(), data);
        for bytes in [&bytes, &bytes[..data]] {
            assert_eq!(summary(record.handle, bytes).unwrap(), record.summary());
            assert_eq!(outline(bytes).unwrap(), record.outline());
        }
        assert!(summary(record.handle, &bytes[..data - 1]).is_err());
        assert!(outline(&bytes[..data - 1]).is_err());
        let Span { created_at, expires_at } = span(&bytes[..HEAD_2]).unwrap();
        assert_eq!((created_at, expires_at), (record.created_at, record.expires_at));
        assert_eq!(mark(&bytes[..UP_TO_MARK]), Some(record.mark));
    }
    assert_eq!(mark(b"\x03\0markmark"), None);
    assert_eq!(mark(b"\x01\0mark"), None);
}

#[test]
fn a_tail_with_something_unknown_in_it_is_refused() {
    let mut bytes = write(&sealed());
    let tail = data_at(&bytes).unwrap() - 35;
    bytes[tail] = 77;
    let error = read(sealed().handle, &bytes).unwrap_err().to_string();
    assert!(error.contains("does not know (77)"), "{error}");
    assert!(outline(&bytes).is_err() && summary(sealed().handle, &bytes).is_err());
}

#[test]
fn a_record_cut_short_or_changed_is_refused_and_never_a_panic() {
    for record in [record(), sealed()] {
        let bytes = write(&record);
        // The end of the data is the end of the value: what is cut there is JSON cut short, and not seen here.
        for length in 0..bytes.len() - 7 {
            let error = read(record.handle, &bytes[..length]).unwrap_err();
            assert!(matches!(error, StoreError::Unusable(_)), "{length}");
        }
        let newer = [&[3], &bytes[1..]].concat();
        let error = read(record.handle, &newer).unwrap_err().to_string();
        assert!(error.contains("layout is 3") && error.contains("knows 2"), "{error}");
        for index in 0..bytes.len() {
            let mut other = bytes.clone();
            other[index] ^= 0xFF;
            let _ = (read(record.handle, &other), outline(&other), summary(record.handle, &other));
        }
    }
}
