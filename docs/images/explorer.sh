#!/usr/bin/env bash
# Makes the pictures of the explorer from the program itself: docs/images/explorer.jpg and the animation explorer.gif.
#
#   docs/images/explorer.sh target/release/camscope
#
# kitty runs on a virtual display, keys are typed, and the window is photographed after each. Needs Debian's xvfb, kitty, xdotool and
# imagemagick.
set -euo pipefail
program=$(realpath "${1:?the program}")
out=$(cd "$(dirname "$0")" && pwd)
shots=$(mktemp -d)
display=:$((90 + $$ % 400))
Xvfb "$display" -screen 0 1600x1000x24 > /dev/null 2>&1 &
server=$!
trap 'kill "${terminal:-}" "$server" 2> /dev/null || true; rm -rf "$shots"' EXIT
export DISPLAY=$display LIBGL_ALWAYS_SOFTWARE=1
until xdotool getdisplaygeometry > /dev/null 2>&1; do sleep 0.1; done
# The explorer begins where the last session ended; this one has none.
XDG_STATE_HOME=$shots/state kitty --config NONE -o remember_window_size=no -o initial_window_width=124c -o initial_window_height=36c \
  -o font_size=10 -o update_check_interval=0 -o confirm_os_window_close=0 "$program" demo > /dev/null 2>&1 &
terminal=$!

window() { xdotool search --onlyvisible --class kitty | tail -n 1; }
count=100
# shot HUNDREDTHS: the window as it is, shown for so long.
shot() {
  count=$((count + 1))
  import -window "$(window)" "$shots/$count.png"
  frames+=(-delay "$1" "$shots/$count.png")
}
# keys HUNDREDTHS KEY…: types each and takes a picture after it.
keys() {
  local long=$1 key
  shift
  for key in "$@"; do
    xdotool key "$key"
    sleep 1
    shot "$long"
  done
}

frames=()
sleep 12
xdotool mousemove 1500 900
sleep 1
shot 150
keys 110 Right
convert "$shots/$count.png" -quality 90 "$out/explorer.jpg"
keys 60 Right Right Right
keys 60 Home Up Up Up
keys 60 Down Down Down
keys 150 5 6 7 8 1
keys 110 n n
keys 150 m
keys 90 Escape h
keys 150 Escape
convert "${frames[@]}" -loop 0 -resize 700x -colors 80 -dither None -layers OptimizePlus "$out/explorer.gif"
ls -l "$out/explorer.jpg" "$out/explorer.gif"
