#!/bin/sh
# Installs the unpacked bundle, or removes it. Needs a shell and coreutils: no make, no Python, no network.
#   [PREFIX=/usr/share/orthanc/ingest-bundle] [DESTDIR=] [CONFIGURE=/etc/orthanc] ./install.sh install
#   the same                                                                       ./install.sh uninstall
# PREFIX is where Orthanc finds the bundle, DESTDIR goes before every path (for packagers), CONFIGURE names Orthanc's configuration
# folder, which is then changed too; without it the changes are only printed. Only files of MANIFEST are ever removed.
set -eu
umask 022
export LC_ALL=C

PREFIX=${PREFIX:-/usr/share/orthanc/ingest-bundle}
DESTDIR=${DESTDIR:-}
CONFIGURE=${CONFIGURE:-}
ETC=${CONFIGURE:-/etc/orthanc}
SOURCE=$(cd -- "$(dirname -- "$0")" && pwd -P)
PLUGINS=${PLUGINS:-/usr/share/orthanc/plugins}
OWN=ingest-bundle.json
KEPT=.before-ingest-bundle # not .json: Orthanc reads every *.json of the folder
REMOVED=.removed

fail() { echo "install.sh: $*" >&2; exit 1; }
each() { tr '\n' '\0' <"$1" | { shift; xargs -0 -r "$@"; }; }

main() {
  case $PREFIX in /*) ;; *) fail "PREFIX is $PREFIX: expected an absolute path" ;; esac
  case $PREFIX in *[\"\\\&\|]*) fail "PREFIX is $PREFIX: expected a path without \" \\ & |" ;; esac
  PREFIX=${PREFIX%/}
  DEST=$DESTDIR$PREFIX
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  case ${1:-} in
    install) install_files; say_or_change ;;
    uninstall) uninstall_files; say_or_change_back ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$SOURCE/install.sh" >&2; exit 2 ;;
  esac
}

# --- files

install_files() {
  [ -f "$SOURCE/SHA256SUMS" ] || fail "$SOURCE is not an unpacked bundle (no SHA256SUMS): from a checkout, run 'make install'"
  (cd -- "$SOURCE" && sha256sum --check --quiet --strict SHA256SUMS) >&2 || fail "this bundle is damaged, see above: nothing was installed"
  machine=$(sed -n '2s/.* //p' "$SOURCE/VERSION")
  [ "$machine" = "$(uname -m)" ] || [ -n "$DESTDIR" ] || fail "this bundle is for $machine, and this machine is $(uname -m)"
  { sed 's/^[0-9a-f]*  //' "$SOURCE/SHA256SUMS"; echo SHA256SUMS; } | sort >"$work/new"
  if [ -d "$DEST" ] && [ ! -f "$DEST/MANIFEST" ] && [ "$(cd -- "$DEST" && pwd -P)" != "$SOURCE" ] && [ -n "$(ls -A "$DEST")" ]; then
    fail "$DEST is there and is no installation of this bundle (no MANIFEST): expected another PREFIX, or an empty folder"
  fi
  mkdir -p "$DEST" && [ -w "$DEST" ] || fail "cannot write to $DEST: run as root"
  touch "$work/old"
  [ ! -f "$DEST/MANIFEST" ] || sort "$DEST/MANIFEST" >"$work/old"
  # First the list, then the files: an installation that is cut off can be taken away, or done again.
  { sort -u "$work/old" "$work/new"; } >"$DEST/MANIFEST.new"
  mv "$DEST/MANIFEST.new" "$DEST/MANIFEST"
  if [ "$(cd -- "$DEST" && pwd -P)" != "$SOURCE" ]; then
    # Removed and made anew, not written over: a running Orthanc has the old libraries in its memory.
    (cd -- "$SOURCE" && each "$work/new" cp --parents --remove-destination --preserve=timestamps -t "$DEST")
  fi
  # Whatever umask the archive was unpacked with: Orthanc's own user reads it.
  (cd -- "$DEST" && each "$work/new" chmod u=rwX,go=rX)
  folders "$work/new" >"$work/folders"
  (cd -- "$DEST" && each "$work/folders" chmod u=rwx,go=rx)
  comm -23 "$work/old" "$work/new" >"$work/gone"
  (cd -- "$DEST" && remove "$work/gone")
  compile
  sort "$work/new" "$work/compiled" >"$DEST/MANIFEST.new"
  mv "$DEST/MANIFEST.new" "$DEST/MANIFEST"
  echo "installed $(head -n 1 "$SOURCE/VERSION") ($(sed -n 2p "$SOURCE/VERSION")) in $DEST: $(wc -l <"$DEST/MANIFEST") files"
  embedded=$(grep -aoE 'libpython3\.[0-9]+' "$PLUGINS/libOrthancPython.so" 2>/dev/null | sed 's/lib//' | sort -u | head -n 1) || :
  [ -z "$embedded" ] || [ -d "$DEST/env/lib/$embedded" ] ||
    echo "WARNING: Orthanc's Python plugin embeds $embedded, and this bundle is for another: Orthanc will refuse to start with it"
}

# Orthanc's user cannot write here, and would compile everything at each start.
compile() {
  : >"$work/compiled"
  for folder in "$DEST"/env/lib/python3.*; do
    python=${folder##*/}
    if command -v "$python" >/dev/null; then
      # Some libraries ship tests that are no valid Python on purpose: what does not compile is left.
      "$python" -m compileall -q -q -j 0 --invalidation-mode checked-hash -s "$DESTDIR" "$DEST" || :
    else
      echo "note: $python is not installed: Orthanc works, starts some seconds more slowly, and $PREFIX/bin/ingest-bundle needs it"
    fi
  done
  # Only compiled files of sources that are ours.
  (cd -- "$DEST" && find . -type f -path '*/__pycache__/*.pyc' | sed 's|^\./||' | sort) |
    awk -v new="$work/new" 'BEGIN { while ((getline line <new) > 0) known[line] = 1 }
      { source = $0; sub(/__pycache__\//, "", source); sub(/\.cpython-[0-9]+(\.opt-[0-9])?\.pyc$/, ".py", source); if (source in known) print }' >"$work/compiled"
}

# The folders of a list of files, each before those inside it.
folders() { awk -F/ '{ path = ""; for (i = 1; i < NF; i++) { path = path (i > 1 ? "/" : "") $i; if (!(path in seen)) { seen[path] = 1; print path } } }' "$1" | sort; }

# In the present folder: the files of a list, and then the folders that they leave empty.
remove() {
  each "$1" rm -f --
  folders "$1" | sort -r >"$work/emptied"
  each "$work/emptied" rmdir --ignore-fail-on-non-empty -- 2>/dev/null || :
}

uninstall_files() {
  [ -f "$DEST/MANIFEST" ] || fail "no installation in $DEST (no MANIFEST)"
  [ -w "$DEST" ] || fail "cannot write to $DEST: run as root"
  cp "$DEST/MANIFEST" "$work/old"
  ! grep -qE '^/|(^|/)\.\.(/|$)' "$work/old" || fail "$DEST/MANIFEST names files outside of the folder: it is not ours, and nothing was removed"
  cd -- "$DEST"
  remove "$work/old"
  rm -f MANIFEST
  cd /
  rmdir "$DEST" 2>/dev/null || { echo "left in $DEST, because it was not installed by us:"; find "$DEST" -mindepth 1 | head -n 20; }
  echo "removed $(wc -l <"$work/old") files from $DEST. Orthanc's storage and the ledger of pending deletions are untouched:"
  echo "what was pending stays on the disk until the bundle, or its 'deferred_delete drain', deletes it."
}

# --- Orthanc's configuration

# FILE:LINE of a key that stands at the start of a line, in any *.json of the folder.
where_is() { grep -nE "^[[:space:]]*\"$1\"[[:space:]]*:" "$DESTDIR$ETC"/*.json /dev/null 2>/dev/null | head -n 1 | cut -d : -f 1,2; }

sections() {
  separator=
  echo '{'
  [ -n "$script_at" ] || { echo "  \"PythonScript\": \"$PREFIX/plugin/main.py\""; separator=,; }
  [ -n "$(where_is Python)" ] || { echo "  $separator\"Python\": { \"AllowThreads\": true }"; separator=,; }
  # Debian 13 loads this plugin with its whole folder, and only one plugin can own the storage area.
  [ ! -e "$PLUGINS/libDelayedDeletion.so" ] || [ -n "$(where_is DelayedDeletion)" ] || { echo "  $separator\"DelayedDeletion\": { \"Enable\": false }"; separator=,; }
  for section in DeferredDelete IngestTranscoder IngestGuard StageTiming DicomAssociations; do
    [ -z "$(where_is $section)" ] || continue
    value='{}'
    [ $section != IngestTranscoder ] || value='{ "Default": "JPEGLSLossless" }'
    echo "  $separator\"$section\": $value"
    separator=,
  done
  echo '}'
}

say_or_change() {
  script_at=$(where_is PythonScript)
  if [ -n "$CONFIGURE" ]; then change; else say; fi
  echo "Then look at it with '$PREFIX/bin/ingest-bundle plugin check $ETC' (needs python3), and restart Orthanc: systemctl restart orthanc"
}

say() {
  echo
  echo "To switch it on:"
  if [ -n "$script_at" ]; then
    line=${script_at##*:} file=${script_at%:*}
    echo "- change line $line of ${file#"$DESTDIR"} (a key may stand in one file of $ETC only), which is now"
    echo "      $(sed -n "${line}p" "$file" | sed 's/^[[:space:]]*//')"
    echo "  to"
    echo "      \"PythonScript\" : \"$PREFIX/plugin/main.py\",       (the comma only where one was)"
  fi
  if [ -e "$DESTDIR$ETC/$OWN" ]; then
    echo "- $ETC/$OWN is there already: leave it as it is"
  else
    echo "- put this into a new file $ETC/$OWN, without the sections that you do not want:"
    sections
  fi
}

change() {
  [ -d "$DESTDIR$ETC" ] || fail "CONFIGURE=$ETC is no folder: expected Orthanc's configuration folder, such as /etc/orthanc"
  if [ -n "$script_at" ]; then
    line=${script_at##*:} file=${script_at%:*}
    now=$(sed -n "${line}s/^[^:]*:[[:space:]]*\"\([^\"]*\)\".*/\1/p" "$file")
    case $now in
      "$PREFIX/plugin/main.py") echo "${file#"$DESTDIR"} names the bundle already" ;;
      # Debian's sample, which does nothing, may go; a script of the site's own may not.
      /etc/orthanc/sample.py | '' | */ingest-bundle*/plugin/main.py)
        [ -e "$file$KEPT" ] || cp -p "$file" "$file$KEPT"
        # Through a copy, and written over: owner and mode stay as they are.
        sed "${line}s|\(^[^:]*:[[:space:]]*\)\"[^\"]*\"|\1\"$PREFIX/plugin/main.py\"|" "$file" >"$work/changed"
        cat "$work/changed" >"$file"
        echo "changed line $line of ${file#"$DESTDIR"}; as it was: ${file#"$DESTDIR"}$KEPT"
        ;;
      *) fail "line $line of ${file#"$DESTDIR"} names $now: Orthanc loads one script only, so this one has to go first; the configuration is unchanged" ;;
    esac
  fi
  if [ -e "$DESTDIR$ETC/$OWN" ]; then
    echo "$ETC/$OWN is there already: left as it is"
  elif [ -e "$DESTDIR$ETC/$OWN$REMOVED" ]; then
    mv "$DESTDIR$ETC/$OWN$REMOVED" "$DESTDIR$ETC/$OWN"
    echo "renamed $ETC/$OWN$REMOVED, of an earlier installation, back to $OWN"
  else
    sections >"$work/$OWN"
    cat "$work/$OWN" >"$DESTDIR$ETC/$OWN"
    echo "made $ETC/$OWN"
  fi
}

say_or_change_back() {
  script_at=$(where_is PythonScript)
  line=${script_at##*:} file=${script_at%:*}
  if [ -n "$CONFIGURE" ] && [ -e "$file$KEPT" ] && names_us; then
    was=$(sed -n "/^[[:space:]]*\"PythonScript\"[[:space:]]*:/{p;q}" "$file$KEPT")
    WAS=$was awk -v at="$line" 'NR == at { print ENVIRON["WAS"]; next } { print }' "$file" >"$work/back"
    cat "$work/back" >"$file"
    rm -f "$file$KEPT"
    echo "changed line $line of ${file#"$DESTDIR"} back"
  fi
  if [ -n "$CONFIGURE" ] && [ -e "$DESTDIR$ETC/$OWN" ]; then
    # Kept for the next installation, and no longer read: it may switch a plugin of Debian's off.
    mv "$DESTDIR$ETC/$OWN" "$DESTDIR$ETC/$OWN$REMOVED"
    echo "renamed $ETC/$OWN to $OWN$REMOVED"
  fi
  script_at=$(where_is PythonScript)
  line=${script_at##*:} file=${script_at%:*}
  ! names_us || echo "Orthanc will not start before you have changed line $line of ${file#"$DESTDIR"}, which still names the bundle."
}

names_us() { [ -n "$script_at" ] && sed -n "${line}p" "$file" | grep -qF "\"$PREFIX/plugin/main.py\""; }

main "$@"
