// Small comforts; every page works without them.
"use strict";
// A choice of language takes effect at once, without its button.
for (const choice of document.querySelectorAll("select[data-at-once]")) {
  choice.addEventListener("change", () => choice.form.requestSubmit());
  const button = choice.form.querySelector("button");
  if (button) button.hidden = true;
}
// "/" goes to the search, as people are used to.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const field = document.querySelector("[data-search]");
  if (field) { event.preventDefault(); field.focus(); }
});
// What changes something is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent && !form.dataset.again) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
  });
}
