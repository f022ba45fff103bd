// A table that scrolls sideways can be reached, and scrolled, by keyboard.
function letTablesBeReached() {
  for (const table of document.querySelectorAll(".bd-article table")) {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
    else table.removeAttribute("tabindex");
  }
}
window.addEventListener("load", letTablesBeReached);
window.addEventListener("resize", letTablesBeReached);
