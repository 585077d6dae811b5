// Pages through the pictures of a shared series: slider, wheel, arrow keys.
"use strict";

const shown = document.getElementById("shown");
if (shown) {
  const pictures = shown.dataset.pictures.split(" ");
  const picture = document.getElementById("picture");
  const place = document.getElementById("place");
  const count = document.getElementById("count");

  const show = (number) => {
    const next = Math.min(Math.max(number, 1), pictures.length);
    place.value = String(next);
    picture.src = pictures[next - 1];
    picture.alt = count.textContent = `${next} of ${pictures.length}`;
    for (const beside of [next, next - 2]) {
      if (pictures[beside]) new Image().src = pictures[beside];
    }
  };

  place.addEventListener("input", () => show(Number(place.value)));
  shown.addEventListener("wheel", (event) => {
    event.preventDefault();
    show(Number(place.value) + Math.sign(event.deltaY));
  }, { passive: false });
  document.addEventListener("keydown", (event) => {
    if (event.target === place) return;
    if (event.key === "ArrowRight" || event.key === "ArrowDown") show(Number(place.value) + 1);
    if (event.key === "ArrowLeft" || event.key === "ArrowUp") show(Number(place.value) - 1);
  });
}
