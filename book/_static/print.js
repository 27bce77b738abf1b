// Nothing is clicked on paper: what is folded opens there, but for code that a page folds itself.
{
  const opened = [];

  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details:not(.hide, [open])")) {
      fold.open = true;
      opened.push(fold);
    }
  });

  addEventListener("afterprint", () => {
    for (const fold of opened.splice(0)) fold.open = false;
  });
}
