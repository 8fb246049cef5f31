# A compiler with its thousands of small reads and writes, and the tests of what it built.
mkdir -p /crate/src && cd /crate
printf '[package]\nname = "job"\nversion = "0.1.0"\nedition = "2021"\n' > Cargo.toml
for n in $(seq 60); do
  printf 'pub fn f%s(x: u64) -> u64 { (0..x).map(|y| y * %s + x).filter(|z| z %% 3 != 0).fold(0, |a, b| a ^ b) }\n#[test]\nfn t() { assert_eq!(f%s(0), 0); assert!(f%s(10) != 1); }\n' "$n" "$n" "$n" "$n" > "src/m$n.rs"
  printf 'mod m%s;\n' "$n" >> src/main.rs
done
printf 'fn main() { println!("{}", 0' >> src/main.rs
for n in $(seq 60); do printf ' ^ m%s::f%s(1000)' "$n" "$n" >> src/main.rs; done
printf '); }\n' >> src/main.rs
cargo run -q --release --offline
cargo test -q --offline 2>&1 | grep 'test result' | sed 's/finished in.*//'
