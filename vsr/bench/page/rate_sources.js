"use strict";
// Where pictures come from and ratings go: a server, or this file alone. Both give the same state:
// { rater, total, done, calibrated, worst, calibration: [{ src, score }], trial: { id, src } | null, after: src | null }

const data = JSON.parse(document.getElementById("data").textContent);

function fromServer() {
  async function ask(path, body) {
    let answer;
    try {
      answer = await fetch(path, body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    } catch {
      throw new Error("The program that keeps the ratings has ended. All ratings but this one are kept: start the same command again and open the address that it prints.");
    }
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    return content;
  }
  return {
    begin: () => ask("state"),
    calibrated: () => ask("calibrated", {}),
    rate: (id, score, seconds) => ask("rating", { id, score, seconds }),
  };
}

function fromKit(kit) {
  let kept = null;
  const slot = () => `vsr-kit-${kit.kit}-${kept.rater}`;
  const store = () => {
    try { localStorage.setItem(slot(), JSON.stringify(kept)); } catch { /* without it a reload begins again */ }
  };
  function order() { // one of several, by the rater's name (FNV-1a)
    let hash = 2166136261;
    for (const byte of new TextEncoder().encode(kept.rater)) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
    return kit.orders[hash % kit.orders.length];
  }
  function state() {
    const trials = order(), place = kept.ratings.length;
    const src = (at) => (at < trials.length ? kit.pictures[kit.trials[trials[at]].picture] : null);
    return {
      rater: kept.rater, total: trials.length, done: place, calibrated: kept.calibrated, worst: kit.worst,
      calibration: kit.calibration.map(({ picture, score }) => ({ src: kit.pictures[picture], score })),
      trial: place < trials.length ? { id: place, src: src(place) } : null, after: src(place + 1),
    };
  }
  return {
    asks: kit.rater,
    begin: async (name) => {
      kept = { rater: name, calibrated: false, ratings: [] };
      try {
        const found = JSON.parse(localStorage.getItem(slot()));
        if (found && found.rater === name && Array.isArray(found.ratings)) kept = found;
      } catch { /* nothing is kept */ }
      return state();
    },
    calibrated: async () => { kept.calibrated = true; store(); return state(); },
    rate: async (id, score, seconds) => {
      const { key, repeat } = kit.trials[order()[id]];
      kept.ratings.push({ key, repeat, score, seconds, place: id, time: new Date().toISOString().slice(0, 19) + "+00:00" });
      store();
      return state();
    },
    save: () => {
      const content = { kind: "vsr ratings", format: 1, kit: kit.kit, seed: kit.seed, rater: kept.rater, ratings: kept.ratings };
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
      link.download = `ratings-${kept.rater.replace(/[^A-Za-z0-9-]+/g, "_")}.json`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    },
  };
}
