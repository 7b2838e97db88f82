#!/usr/bin/env bash
# Builds the Debian package, and says where it is.
#
#   packaging/build.sh                       a release build, then the package
#   packaging/build.sh --no-build            the package of the program that was built before
#   packaging/build.sh --profile quick       another profile of Cargo, such as the one for measuring
#
# Needs cargo-deb (https://crates.io/crates/cargo-deb), which it installs if it is missing, xz, and dpkg-dev for the package's
# dependencies; it ends with 3 where one of them cannot be had. CARGO_TARGET_DIR says where things are built, target/ otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=release build=yes
while [ $# -gt 0 ]; do
  case $1 in
    --profile)
      profile=${2:?a profile is missing}
      shift
      ;;
    --no-build) build=no ;;
    *)
      sed -n '2,9s/^# \{0,1\}//p' packaging/build.sh >&2
      exit 2
      ;;
  esac
  shift
done

target=${CARGO_TARGET_DIR:-target}
program=$target/$profile/leveret
# cargo-deb finds there what Cargo.toml has below target/release.
staged=$target/$profile/packaging

missing() {
  echo "packaging/build.sh: there is no $1" >&2
  exit 3
}

command -v dpkg-shlibdeps >/dev/null || missing "dpkg-shlibdeps (apt-get install dpkg-dev)"
command -v xz >/dev/null || missing "xz (apt-get install xz-utils)"
if ! cargo deb --version >/dev/null 2>&1; then
  echo "packaging/build.sh: cargo-deb is missing, installing it (cargo install cargo-deb --locked)" >&2
  # Built fast rather than to be fast. It packs with the system's xz, so that it needs no library for that.
  CARGO_TARGET_DIR=$target/cargo-deb CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    cargo install cargo-deb --locked --no-default-features >&2 || missing "cargo-deb, and it cannot be installed"
  rm -rf "$target/cargo-deb"
fi

if [ "$build" = yes ]; then
  cargo build --profile "$profile" --locked --bin leveret
fi

rm -rf "$staged"
mkdir -p "$staged/links" "$staged/completions/bash" "$staged/completions/zsh" "$staged/completions/fish"
"$program" man "$staged/man" >/dev/null
gzip -9n "$staged"/man/man*/*
# The program says which links there are; in the package they lead to where it will be.
"$program" links "$staged/names" >/dev/null
for link in "$staged"/names/*; do
  ln -s ../bin/leveret "$staged/links/${link##*/}"
done
rm -r "$staged/names"
tools=$(find "$staged/links" -name 'rabbitmq*' ! -name rabbitmq-server -printf '%f\n' | sort)
for name in leveret $tools; do
  "$program" completions bash "$name" >"$staged/completions/bash/$name"
  "$program" completions zsh "$name" >"$staged/completions/zsh/_$name"
  "$program" completions fish "$name" >"$staged/completions/fish/$name.fish"
done

# The same sources make the same package, whenever that is.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
mkdir -p "$target/debian"
cargo deb --package leveret-server --profile "$profile" --no-build --locked --strip --compress-system --output "$target/debian/"
