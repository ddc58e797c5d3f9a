//! The named modes give the answers of their originals, judged by figures that the originals'
//! own tests publish.

use quorate_hashring::compat::{EnvoyHash, envoy_maglev, envoy_ring_hash};

/// Envoy, `ring_hash_lb_test.cc`: hosts `127.0.0.1:90` and on, of weight one.
fn ports(from: u16, count: u16) -> Vec<String> {
    (from..from + count).map(|port| format!("127.0.0.1:{port}")).collect()
}

fn even(hosts: &[String]) -> Vec<(&str, u32)> {
    hosts.iter().map(|host| (host.as_str(), 1)).collect()
}

/// `Basic`: the whole ring as its comment lists it, and its lookups.
#[test]
fn envoy_ring_of_six_hosts() {
    let hosts = ports(90, 6);
    let ring = envoy_ring_hash(&even(&hosts), 12, 8_388_608, EnvoyHash::Xx).unwrap();
    let listed = [
        (833_437_586_790_550_860, 4),
        (928_266_305_478_181_108, 2),
        (1_033_482_794_131_418_490, 0),
        (3_551_244_743_356_806_947, 5),
        (3_851_675_632_748_031_481, 3),
        (5_583_722_120_771_150_861, 1),
        (6_311_230_543_546_372_928, 1),
        (7_700_377_290_971_790_572, 3),
        (13_144_177_310_400_110_813, 5),
        (13_444_792_449_719_432_967, 2),
        (15_516_499_411_664_133_160, 4),
        (16_117_243_373_044_804_889, 0),
    ];
    assert_eq!(ring.points(), listed);
    assert_eq!(ring.host_at(0), 4);
    assert_eq!(ring.host_at(u64::MAX), 4);
    assert_eq!(ring.host_at(3_551_244_743_356_806_947), 5);
    assert_eq!(ring.host_at(3_551_244_743_356_806_948), 3);
    assert_eq!(ring.host_at(16_117_243_373_044_804_880), 0);
}

/// `BasicWithMurmur2`.
#[test]
fn envoy_ring_by_murmur2() {
    let hosts = ports(80, 6);
    let ring = envoy_ring_hash(&even(&hosts), 12, 8_388_608, EnvoyHash::Murmur2).unwrap();
    let listed = [
        (1_358_027_074_129_602_068, 5),
        (4_361_834_613_929_391_114, 3),
        (7_224_494_972_555_149_682, 4),
        (7_701_421_856_454_313_576, 1),
        (8_649_315_368_077_433_379, 2),
        (8_739_448_859_063_030_639, 4),
        (9_887_544_217_113_020_895, 1),
        (10_150_910_876_324_007_731, 2),
        (15_168_472_011_420_622_455, 3),
        (15_427_156_902_705_414_897, 0),
        (16_375_050_414_328_759_093, 5),
        (17_613_279_263_364_193_813, 0),
    ];
    assert_eq!(ring.points(), listed);
    assert_eq!(ring.host_at(10_150_910_876_324_007_730), 2);
}

/// `BasicWithHostname`: keys of two bytes, so that names of four are hashed.
#[test]
fn envoy_ring_of_host_names() {
    let hosts: Vec<String> = (90..96).map(|name| name.to_string()).collect();
    let ring = envoy_ring_hash(&even(&hosts), 12, 8_388_608, EnvoyHash::Xx).unwrap();
    let listed = [
        (1_975_508_444_536_362_413, 5),
        (2_376_063_919_839_173_711, 5),
        (2_386_806_903_309_390_596, 3),
        (6_749_904_478_991_551_885, 4),
        (6_803_900_775_736_438_537, 3),
        (7_225_015_537_174_310_577, 2),
        (8_787_465_352_164_086_522, 0),
        (11_282_020_843_382_717_940, 2),
        (13_723_418_369_486_627_818, 1),
        (13_776_502_110_861_797_421, 0),
        (14_338_313_586_354_474_791, 1),
        (15_364_271_037_087_512_980, 4),
    ];
    assert_eq!(ring.points(), listed);
}

/// `UnevenHosts`: two hosts, at least three points: two each.
#[test]
fn envoy_ring_rounds_up_for_the_lightest() {
    let hosts = ports(80, 2);
    let ring = envoy_ring_hash(&even(&hosts), 3, 8_388_608, EnvoyHash::Xx).unwrap();
    let listed = [
        (5_454_692_015_285_649_509, 0),
        (7_859_399_908_942_313_493, 1),
        (13_838_424_394_637_650_569, 0),
        (16_064_866_803_292_627_174, 1),
    ];
    assert_eq!(ring.points(), listed);
}

/// `HostWeightedTinyRing`: weights 1, 2, 3 and exactly six points.
#[test]
fn envoy_ring_by_weight() {
    let hosts = [("127.0.0.1:90", 1), ("127.0.0.1:91", 2), ("127.0.0.1:92", 3)];
    let ring = envoy_ring_hash(&hosts, 6, 6, EnvoyHash::Xx).unwrap();
    let listed = [
        (928_266_305_478_181_108, 2),
        (4_443_673_547_860_492_590, 2),
        (5_583_722_120_771_150_861, 1),
        (6_311_230_543_546_372_928, 1),
        (13_444_792_449_719_432_967, 2),
        (16_117_243_373_044_804_889, 0),
    ];
    assert_eq!(ring.points(), listed);
}

/// Envoy, `maglev_lb_test.cc`: `Basic`, `BasicWithHostName`, `Weighted`, and the locality weights
/// of
/// `LocalityWeightedSameLocalityWeights` and `…DifferentLocalityWeights` (one host each, so that a
/// locality's weight is its host's).
#[test]
fn envoy_maglev_tables() {
    let hosts = ports(90, 6);
    let table = envoy_maglev(&even(&hosts), 7).unwrap();
    assert_eq!(table.slots(), [2, 4, 0, 1, 5, 0, 3]);
    assert_eq!(table.host_at(10), 1);

    let named: Vec<String> = (90..96).map(|name| name.to_string()).collect();
    let table = envoy_maglev(&even(&named), 7).unwrap();
    assert_eq!(table.slots(), [2, 5, 0, 3, 4, 1, 0]);

    let table = envoy_maglev(&[("127.0.0.1:90", 1), ("127.0.0.1:91", 2)], 17).unwrap();
    assert_eq!(table.slots(), [1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1]);

    let table = envoy_maglev(&[("127.0.0.1:90", 1), ("127.0.0.1:91", 1)], 17).unwrap();
    assert_eq!(table.slots(), [1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1]);

    let weighted = [("127.0.0.1:90", 8), ("127.0.0.1:91", 2), ("127.0.0.1:92", 0)];
    let table = envoy_maglev(&weighted, 17).unwrap();
    assert_eq!(table.slots(), [1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
}

/// `BasicStability`: the order of the list does not matter to Maglev.
#[test]
fn envoy_maglev_in_any_order() {
    let hosts = ports(90, 6);
    let mut turned = even(&hosts);
    turned.reverse();
    let table = envoy_maglev(&turned, 7).unwrap();
    let slots: Vec<u16> = table.slots().iter().map(|slot| 5 - slot).collect();
    assert_eq!(slots, [2, 4, 0, 1, 5, 0, 3]);
}

/// An equal slot for the key itself: what Envoy hashes a header or a cookie with.
#[test]
fn envoy_hashes_keys_by_xxh64() {
    // The check value of XXH64 for no bytes at all.
    let table = envoy_maglev(&[("127.0.0.1:90", 1), ("127.0.0.1:91", 2)], 17).unwrap();
    assert_eq!(table.host(b""), table.host_at(0xef46_db37_51d8_e999));
    let hosts = ports(90, 6);
    for hash in [EnvoyHash::Xx, EnvoyHash::Murmur2] {
        let ring = envoy_ring_hash(&even(&hosts), 12, 8_388_608, hash).unwrap();
        assert_eq!(ring.host(b""), ring.host_at(0xef46_db37_51d8_e999));
    }
}

#[cfg(feature = "ketama")]
mod ketama {
    use quorate_hashring::compat::{HostRing, Ketama, Server, ketama};

    /// The eight servers of libketama's own file, which all its descendants test with.
    fn eight(mode: Ketama, weights: [u32; 8]) -> HostRing {
        let hosts: Vec<String> = (1..=8).map(|i| format!("10.0.1.{i}")).collect();
        let servers: Vec<Server<'_>> = hosts
            .iter()
            .zip(weights)
            .map(|(host, weight)| Server::new(host, 11_211, weight))
            .collect();
        ketama(&servers, mode).unwrap()
    }

    const WEIGHTS: [u32; 8] = [600, 300, 200, 350, 1000, 800, 950, 100];

    /// libmemcached, `ketama.hpp` beside `ketama.cpp`: keys, and the last number of the servers in
    /// its two tables: weighted ketama, and the same with the names after spymemcached.
    const KEYS: [(&str, usize, usize); 99] = [
        ("SVa_]_V41)", 7, 2),
        ("*/Z;?V(.\\8", 1, 4),
        ("30C1*Z*S/_", 2, 2),
        ("ERR:EC58G>", 7, 7),
        ("1I=cTMNTKF", 5, 4),
        ("]VG<`I*Z8)", 5, 5),
        ("UUTC`-V159", 5, 7),
        ("@7RU6C6T+Z", 5, 6),
        ("/XLN0@+36;", 1, 7),
        ("4(`X;\\V.^c", 1, 6),
        ("726bW=9*a4", 7, 3),
        ("\\`)<B)UE,c", 1, 8),
        ("P1[Ma3=K1/", 8, 1),
        ("C89I.-V?cT", 8, 5),
        ("D[HE+cFXDK", 3, 5),
        ("P1L?NAB[)K", 1, 7),
        ("cDT0)Z5P6,", 5, 1),
        ("@JW`+[WAO8", 5, 2),
        ("\\39DKW^)N_", 3, 6),
        ("EM75N0+[X1", 4, 5),
        ("`,SS]NBP,b", 1, 1),
        ("XX1a9LT+F?", 5, 6),
        ("Zc\\-,F-c6V", 5, 6),
        ("1*RTMC7,03", 8, 5),
        ("*Xc+V0P>32", 7, 7),
        ("U))Fb-(`,.", 7, 7),
        ("R-08RNTaRT", 5, 5),
        ("(LHcO203I3", 5, 1),
        ("=256P+;Qc8", 5, 3),
        ("OI5XZ_BBT(", 7, 5),
        ("2TLRL/UL;:", 7, 2),
        ("WHD\\O1`ZRW", 5, 1),
        (".=54)_c;=T", 1, 6),
        (";G<W-XWZ@b", 5, 7),
        ("(,>E`)FT\\4", 2, 5),
        ("HZAU*;P*N]", 7, 1),
        ("NZ@ZE=O84_", 7, 7),
        ("6,cEI`F_P>", 6, 3),
        ("c,5AQ/T5)6", 8, 7),
        (".O,>>BT)RX", 5, 7),
        ("XY\\X::LX50", 6, 7),
        ("+550F^/.01", 6, 2),
        ("<.X9E2S5+9", 7, 7),
        ("]\\.UH8_0a1", 4, 6),
        ("8(6=(T0/Z0", 7, 6),
        ("8*6a;Sc*X+", 2, 5),
        ("<QW:;3K6;H", 5, 7),
        ("7C@EY@-Y?_", 5, 5),
        ("aPb3E1WD4K", 1, 2),
        ("?@12R<=1BH", 8, 1),
        ("QR(a+Q=1FU", 6, 5),
        ("`C9^FV,960", 6, 3),
        ("UNHVP..^8H", 4, 6),
        (":Y.2W2[(35", 7, 6),
        ("M/HV^_HZ4O", 7, 4),
        ("ZY16KQ<ICD", 4, 7),
        ("bV2,`a.PY9", 1, 7),
        ("U;9:-+5N]9", 1, 2),
        ("1S/:aJ[1(;", 2, 5),
        ("Nb-X^]M)I:", 6, 3),
        ("2;M;ES>J5/", 7, 6),
        ("[>RZHG97Q9", 6, 4),
        ("J3/G[)9<^Z", 7, 6),
        ("N-)88>[O`,", 5, 2),
        ("NP:=FR\\OaA", 7, 7),
        ("`@L+W;a,O[", 6, 5),
        ("W2`P:-+1T[", 5, 7),
        ("-6G7K^YDIN", 7, 5),
        ("U>*>9ZI6V5", 6, 5),
        (".I?^6Ic9RK", 6, 6),
        ("0OZH^9BKM[", 8, 2),
        ("5?50UGZ:ML", 5, 6),
        ("?K2NF@3=IU", 1, 6),
        ("YI@G-2X?UB", 5, 6),
        ("7cY</BSaL=", 6, 7),
        ("A(`KF:[RH8", 6, 6),
        (";=ZT\\W^P+H", 4, 6),
        ("b2?WFF56;R", 4, 7),
        ("CTR74,J+N.", 8, 7),
        ("<b;*R+QDST", 5, 5),
        ("\\R^7=9UCG`", 5, 6),
        ("1bQS5]WOXB", 4, 7),
        ("M(@X^b[L:K", 1, 4),
        ("431cBF8,YO", 7, 1),
        ("(bEIQJ:E./", 6, 7),
        ("WS/3H*)7F;", 5, 3),
        ("ZJF[Ia6Q)+", 7, 5),
        ("<]*QCK8U,>", 7, 5),
        ("\\[a\\^=V_M0", 6, 7),
        ("7;RM+8J9YC", 7, 7),
        ("4*=.SPR[AV", 1, 3),
        ("-2F+^88P4U", 7, 7),
        ("X;-F`(N?9D", 7, 5),
        ("R=F_D-K2a]", 7, 1),
        ("X*+2aaC.EG", 5, 3),
        ("[1ZXONX2]a", 4, 7),
        ("FL;\\GWacaV", 4, 7),
        ("\\MQ_XNT7L-", 7, 5),
        ("VD6D0]ba_\\", 1, 7),
    ];

    #[test]
    fn libmemcached_weighted() {
        let ring = eight(Ketama::Libmemcached, WEIGHTS);
        for (key, server, _) in KEYS {
            assert_eq!(ring.host(key.as_bytes()) + 1, server, "{key}");
        }
        // Hashes to 0xfffcd1b5, behind the last point.
        assert_eq!(ring.host(b"VDEAAAAA"), usize::from(ring.points()[0].1));
    }

    #[test]
    fn libmemcached_with_the_names_after_spymemcached() {
        let ring = eight(Ketama::LibmemcachedSpy, WEIGHTS);
        for (key, _, server) in KEYS {
            assert_eq!(ring.host(key.as_bytes()) + 1, server, "{key}");
        }
        assert_eq!(ring.host(b"VDEAAAAA"), usize::from(ring.points()[0].1));
    }

    /// spymemcached, `KetamaNodeLocatorTest.java`, `testLibKetamaCompatTwo`: keys, and the last
    /// numbers of the servers.
    const SPY: [(u32, usize); 98] = [
        (0, 1),
        (233, 7),
        (466, 3),
        (699, 1),
        (932, 6),
        (1165, 2),
        (1398, 1),
        (1631, 6),
        (1864, 5),
        (2097, 3),
        (2330, 7),
        (2563, 3),
        (2796, 6),
        (3029, 1),
        (3262, 2),
        (3495, 3),
        (3728, 8),
        (3961, 4),
        (4194, 4),
        (4427, 3),
        (4660, 4),
        (4893, 7),
        (5126, 4),
        (5359, 2),
        (5592, 2),
        (5825, 3),
        (6058, 2),
        (6291, 7),
        (6524, 5),
        (6757, 5),
        (6990, 1),
        (7223, 5),
        (7456, 4),
        (7689, 2),
        (7922, 5),
        (8155, 5),
        (8388, 1),
        (8621, 2),
        (8854, 2),
        (9087, 1),
        (9320, 6),
        (9553, 3),
        (9786, 2),
        (10019, 5),
        (10252, 1),
        (10485, 5),
        (10718, 5),
        (10951, 2),
        (11184, 5),
        (11417, 3),
        (11650, 8),
        (11883, 2),
        (12116, 2),
        (12349, 7),
        (12582, 5),
        (12815, 3),
        (13048, 8),
        (13281, 6),
        (13514, 3),
        (13747, 6),
        (13980, 6),
        (14213, 8),
        (14446, 2),
        (14679, 3),
        (14912, 7),
        (15145, 1),
        (15378, 4),
        (15611, 1),
        (15844, 3),
        (16077, 3),
        (16310, 5),
        (16543, 5),
        (16776, 4),
        (17009, 1),
        (17242, 4),
        (17475, 7),
        (17708, 6),
        (17941, 2),
        (28892, 7),
        (29125, 4),
        (29358, 7),
        (29591, 5),
        (29824, 7),
        (30057, 7),
        (30290, 3),
        (30523, 8),
        (30756, 3),
        (30989, 4),
        (31222, 6),
        (31455, 1),
        (31688, 2),
        (31921, 2),
        (32154, 8),
        (32387, 1),
        (32620, 3),
        (32853, 2),
        (33086, 7),
        (33319, 4),
    ];

    #[test]
    fn spymemcached_eight_servers() {
        let ring = eight(Ketama::Spymemcached, [1; 8]);
        for (key, server) in SPY {
            assert_eq!(ring.host(key.to_string().as_bytes()) + 1, server, "{key}");
        }
    }

    fn locals(count: u16) -> HostRing {
        let servers: Vec<Server<'_>> =
            (0..count).map(|i| Server::new("127.0.0.1", 10_000 + i, 1)).collect();
        ketama(&servers, Ketama::Spymemcached).unwrap()
    }

    /// The same, `testLookups`, `testContinuumWrapping`, `testClusterResizing`,
    /// `testLibKetamaCompat`.
    #[test]
    fn spymemcached_four_and_five_servers() {
        let four = locals(4);
        let known = [("dustin", 0), ("noelani", 2), ("some other key", 0)];
        for (key, server) in known {
            assert_eq!(four.host(key.as_bytes()), server, "{key}");
        }
        assert_eq!(four.points().last().unwrap().0, 4_294_887_009);
        for beyond in ["V5XS8C8N", "8KR2DKR2", "L9KH6X4X"] {
            assert_eq!(four.host(beyond.as_bytes()), 3, "{beyond}");
        }
        let five = locals(5);
        let known = [("dustin", 0), ("noelani", 2), ("some other key", 4)];
        let compat = [("36", 2), ("10037", 3), ("22051", 1), ("49044", 4)];
        for (key, server) in known.into_iter().chain(compat) {
            assert_eq!(five.host(key.as_bytes()), server, "{key}");
        }
    }
}

/// Envoy's loop as it stands there (`maglev_lb.cc`): every host in every round.
fn plain_envoy_maglev(hosts: &[(&str, u32)], size: u64) -> Vec<u16> {
    let sum: u64 = hosts.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut order: Vec<usize> = (0..hosts.len()).filter(|&at| hosts[at].1 > 0).collect();
    order.sort_by_key(|&at| hosts[at].0);
    let share = |at: usize| f64::from(hosts[at].1) / sum as f64;
    let most = order.iter().map(|&at| share(at)).fold(0.0, f64::max);
    let start = |at: usize, seed| xxhash_rust::xxh64::xxh64(hosts[at].0.as_bytes(), seed);
    let mut states: Vec<(usize, f64, u64)> =
        order.iter().map(|&at| (at, 0.0, start(at, 0) % size)).collect();
    let mut slots: Vec<Option<u16>> = vec![None; usize::try_from(size).unwrap()];
    let (mut taken, mut round) = (0, 0_u32);
    while taken < size {
        round += 1;
        for (at, target, next) in &mut states {
            if taken == size || f64::from(round) * share(*at) < *target {
                continue;
            }
            *target += most;
            while slots[usize::try_from(*next).unwrap()].is_some() {
                *next = (*next + start(*at, 1) % (size - 1) + 1) % size;
            }
            slots[usize::try_from(*next).unwrap()] = Some(u16::try_from(*at).unwrap());
            taken += 1;
        }
    }
    slots.into_iter().flatten().collect()
}

#[test]
fn envoy_maglev_equals_the_plain_loop() {
    use crate::random::{Random, seeds};
    for seed in seeds(400) {
        let random = &mut Random::new(seed);
        let count = 1 + random.below(12);
        let names: Vec<String> = (0..count).map(|at| format!("10.0.{at}.{seed}:80")).collect();
        let weights = *random.pick(&[&[1, 2, 3][..], &[0, 1, 128], &[1, 7, 1_000_003], &[3, 10]]);
        let hosts: Vec<(&str, u32)> =
            names.iter().map(|name| (&**name, *random.pick(weights))).collect();
        if hosts.iter().all(|(_, weight)| *weight == 0) {
            continue;
        }
        let size = *random.pick(&[2, 13, 251, 2_003]);
        let table = envoy_maglev(&hosts, size).unwrap();
        assert_eq!(table.slots(), plain_envoy_maglev(&hosts, size), "seed {seed}");
    }
}

/// Many light hosts beside a heavy one: looking at all of them in each of its rounds took minutes.
#[test]
fn envoy_maglev_of_very_unequal_weights() {
    let names: Vec<String> = (0..20_000).map(|at| format!("host {at}")).collect();
    let weight = |at: usize| if at == 0 { 1_000_000_000 } else { 1 };
    let hosts: Vec<(&str, u32)> =
        names.iter().enumerate().map(|(at, name)| (&**name, weight(at))).collect();
    let table = envoy_maglev(&hosts, 65_537).unwrap();
    // Everybody plays in the first round, and then the heavy one alone.
    let heavy = table.slots().iter().filter(|slot| **slot == 0).count();
    assert_eq!(heavy, 65_537 - 19_999);
}
