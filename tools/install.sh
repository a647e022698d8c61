#!/bin/sh
# Builds and installs header, shared and static library, pkg-config file, CMake package, the `midge` command and its
# manual page. Where cargo is not on the PATH, as under sudo, it installs what was built before.
#
#   PREFIX=/usr/local DESTDIR= tools/install.sh
#
# PREFIX      where it will be used from (default /usr/local); BINDIR, LIBDIR, INCLUDEDIR and MANDIR are below it
# DESTDIR     put in front of every path, for packagers
# PROFILE     the folder of the cargo profile (default release; debug is that of the profile dev)
# BUILD       "no" installs what was built before, without the command if that was not
# STRIP       "no" leaves the debug information in (default: it is taken out if strip is there)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
prefix=${PREFIX:-/usr/local}
bindir=${BINDIR:-$prefix/bin}
libdir=${LIBDIR:-$prefix/lib}
includedir=${INCLUDEDIR:-$prefix/include}
mandir=${MANDIR:-$prefix/share/man}
built=${CARGO_TARGET_DIR:-$root/target}/${PROFILE:-release}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
abi=0

if [ "${BUILD:-yes}" != no ]; then
    profile=${PROFILE:-release}
    [ "$profile" = debug ] && profile=dev
    if command -v cargo >/dev/null 2>&1; then
        (cd "$root" && cargo build --profile "$profile" --features accounts,cli,console,durable,tls,websocket,certificate)
    elif [ ! -f "$built/libmidge.so" ] || [ ! -f "$built/libmidge.a" ] || [ ! -f "$built/midge" ]; then
        echo "cargo is not on the PATH, and nothing was built: first run cargo build --profile $profile --features accounts,cli,console,durable,tls,websocket,certificate" >&2
        exit 1
    fi
fi

lib=${DESTDIR:-}$libdir
include=${DESTDIR:-}$includedir
mkdir -p "$lib/pkgconfig" "$include"
install -m 644 "$root/include/midge.h" "$include/midge.h"
install -m 755 "$built/libmidge.so" "$lib/libmidge.so.$version"
install -m 644 "$built/libmidge.a" "$lib/libmidge.a"
if [ -f "$built/midge" ]; then
    mkdir -p "${DESTDIR:-}$bindir"
    install -m 755 "$built/midge" "${DESTDIR:-}$bindir/midge"
    mkdir -p "${DESTDIR:-}$mandir/man1"
    install -m 644 "$root/man/midge.1" "${DESTDIR:-}$mandir/man1/midge.1"
fi
if [ "${STRIP:-yes}" != no ] && command -v strip >/dev/null 2>&1; then
    strip --strip-unneeded "$lib/libmidge.so.$version"
    strip --strip-debug "$lib/libmidge.a"
    [ ! -f "$built/midge" ] || strip "${DESTDIR:-}$bindir/midge"
fi
ln -sf "libmidge.so.$version" "$lib/libmidge.so.$abi"
ln -sf "libmidge.so.$abi" "$lib/libmidge.so"
# The loader keeps a list of what is in its directories, such as /usr/local/lib.
if [ -z "${DESTDIR:-}" ] && [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null 2>&1; then
    ldconfig || echo "ldconfig failed; programs may not find libmidge.so.$abi" >&2
fi

# What the static library needs besides itself: what rustc --print native-static-libs lists, but libgcc. The compiler links
# that one by itself, as a shared library or, with -static, as a static one; -lgcc_s would fail with -static.
needs="util rt pthread m dl c"

cat >"$lib/pkgconfig/midge.pc" <<END
prefix=$prefix
libdir=$libdir
includedir=$includedir

Name: midge
Description: An MQTT broker that lives inside a program
Version: $version
Libs: -L\${libdir} -lmidge
Libs.private: $(for need in $needs; do printf -- '-l%s ' "$need"; done)
Cflags: -I\${includedir}
END

# from_lib <directory>: the way to it from the directory of the libraries, so that the tree may be moved; the directory
# itself if one of them is not below the prefix.
from_lib() {
    case "$libdir,$1" in
    "$prefix"/*,"$prefix"/*)
        way=
        rest=${libdir#"$prefix"}
        while [ -n "$rest" ]; do
            way=../$way
            rest=${rest%/*}
        done
        echo "\${_midge_lib}/$way${1#"$prefix"/}"
        ;;
    *) echo "$1" ;;
    esac
}

cmake=$lib/cmake/midge
mkdir -p "$cmake"
sed -e "s|@VERSION@|$version|g; s|@ABI@|$abi|g; s|@INCLUDE@|$(from_lib "$includedir")|g" \
    -e "s|@NEEDS@|$(echo "$needs" | tr ' ' ';')|g" "$root/tools/cmake/midgeConfig.cmake.in" >"$cmake/midgeConfig.cmake"
sed -e "s|@VERSION@|$version|g; s|@BYTES@|$(($(getconf LONG_BIT) / 8))|g" "$root/tools/cmake/midgeConfigVersion.cmake.in" >"$cmake/midgeConfigVersion.cmake"
echo "installed midge $version below ${DESTDIR:-}$prefix"
