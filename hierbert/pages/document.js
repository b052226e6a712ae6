
"use strict";
(() => {
  const tip = document.getElementById("tip");
  if (!tip) return;
  const starts = [...document.querySelectorAll("mark[id]")];
  const blocks = [...document.querySelectorAll(".block")];
  const all = blocks.length ? Number(blocks.at(-1).dataset.at) + blocks.at(-1).textContent.length : 1;
  const map = document.querySelector("#map svg");
  const view = document.getElementById("view");

  const say = (mark) => { tip.textContent = mark.title; };

  // All pieces of a highlight, or of the strongest that begins at a place.
  function choose(mark, number) {
    for (const old of document.querySelectorAll("mark.now")) old.classList.remove("now");
    const wanted = number ?? mark.dataset.h.split(" ")[0];
    for (const piece of document.querySelectorAll(`mark[data-h~="${wanted}"]`)) piece.classList.add("now");
    say(mark);
  }

  function go(mark, number) {
    choose(mark, number);
    mark.focus({ preventScroll: true });
    mark.scrollIntoView({ block: "center" });
    // What lies before it may have been laid out only now.
    requestAnimationFrame(() => mark.scrollIntoView({ block: "center" }));
  }

  function step(by) {
    if (!starts.length) return;
    let at = starts.indexOf(document.querySelector("mark.now[id]:focus") ?? document.activeElement);
    if (at < 0) {
      const edge = by > 0 ? 0 : innerHeight;
      const below = starts.findIndex((mark) => mark.getBoundingClientRect().top >= edge);
      at = by > 0 ? (below < 0 ? -1 : below - 1) : below < 0 ? starts.length : below;
    }
    go(starts[(at + by + starts.length) % starts.length]);
  }

  document.getElementById("next").addEventListener("click", () => step(1));
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input")) return;
    if (event.key === "n" || event.key === "p") {
      event.preventDefault();
      step(event.key === "n" ? 1 : -1);
    }
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-h]");
    const mark = event.target.closest("mark");
    if (link) {
      event.preventDefault();
      go(document.getElementById(link.hash.slice(1)), link.dataset.h);
    } else if (mark) choose(mark);
  });
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("mark");
    if (mark) say(mark);
  });

  function show() {
    let low = 0, high = blocks.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (blocks[middle].getBoundingClientRect().bottom > 0) high = middle; else low = middle + 1;
    }
    const place = (y) => {
      let block = blocks[low], box = block.getBoundingClientRect();
      for (let next = low + 1; box.bottom < y && next < blocks.length; next++) {
        block = blocks[next];
        box = block.getBoundingClientRect();
      }
      const next = block.nextElementSibling;
      const start = Number(block.dataset.at), end = next ? Number(next.dataset.at) : all;
      return start + (end - start) * Math.min(1, Math.max(0, (y - box.top) / (box.height || 1)));
    };
    const top = 1000 * place(0) / all, bottom = 1000 * place(innerHeight) / all;
    view.setAttribute("y", top);
    view.setAttribute("height", Math.max(2, bottom - top));
  }

  if (map && blocks.length) {
    let waiting = false;
    addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; show(); });
    }, { passive: true });
    addEventListener("resize", show);
    map.addEventListener("click", (event) => {
      const box = map.getBoundingClientRect();
      const wanted = all * (event.clientY - box.top) / box.height;
      const next = blocks.findIndex((block) => Number(block.dataset.at) > wanted);
      const block = blocks[next < 0 ? blocks.length - 1 : Math.max(0, next - 1)];
      block.scrollIntoView({ block: "start" });
      requestAnimationFrame(() => block.scrollIntoView({ block: "start" }));
    });
    show();
  }
})();
