"""What a visitor sees and does, on a page that draws its elements anew while it is looked at."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

pytest.importorskip("selenium")
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from .conftest import until

T = TypeVar("T")


def _again(chrome: Any, act: Callable[[], T]) -> T:
    """Act, once more where the element was drawn anew or moved between being found and being used."""
    wait = WebDriverWait(chrome, 15, 0.1, [StaleElementReferenceException, ElementClickInterceptedException])
    return wait.until(lambda _: (act(),))[0]


def words(chrome: Any, selector: str = "main") -> str:
    return _again(chrome, lambda: str(chrome.find_element(By.CSS_SELECTOR, selector).text))


def attribute(chrome: Any, selector: str, name: str) -> str | None:
    return _again(chrome, lambda: chrome.find_element(By.CSS_SELECTOR, selector).get_attribute(name))


def locked(chrome: Any, label: str) -> bool:
    return attribute(chrome, f'[aria-label="{label}"]', "disabled") is not None


def click(chrome: Any, xpath: str) -> None:
    """Once it rests: a press on what a page is just moving may land beside it."""

    def act() -> None:
        element = chrome.find_element(By.XPATH, xpath)
        before = element.rect
        time.sleep(0.1)
        if element.rect != before:
            raise ElementClickInterceptedException("it moves")
        element.click()

    _again(chrome, act)


def press(chrome: Any, label: str, word: str | None = None) -> None:
    """Press what is labelled so, or the button in it that says `word`."""
    click(chrome, f"//*[@aria-label='{label}']" + (f"//button[contains(., '{word}')]" if word else ""))


def choose(chrome: Any, label: str, option: str) -> None:
    press(chrome, label)
    click(chrome, f"//*[@role='option'][contains(., '{option}')]")


def send(chrome: Any, label: str, *keys: str) -> None:
    """Send keys to what is labelled so, or to what in it takes them."""
    path = f"//*[@aria-label='{label}']/descendant-or-self::*[self::input or @tabindex='0']"
    _again(chrome, lambda: chrome.find_element(By.XPATH, path).send_keys(*keys))


def cut_off(chrome: Any) -> list[str]:
    """What reaches beyond the right side of the window."""
    found: list[str] = chrome.execute_script(
        "const seen = document.documentElement.clientWidth;"
        "return [...document.querySelectorAll('#app *')].filter(e => e.getBoundingClientRect().right > seen + 1)"
        ".map(e => e.outerHTML.slice(0, 100))"
    )
    return found


def too_small(chrome: Any) -> list[str]:
    """Text that is too small to read."""
    found: list[str] = chrome.execute_script(
        "return [...document.querySelectorAll('#app *')]"
        ".filter(e => !e.children.length && e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11)"
        ".map(e => e.outerHTML.slice(0, 100))"
    )
    return found


def type_in(chrome: Any, label: str, value: str) -> None:
    send(chrome, label, Keys.CONTROL, "a")
    send(chrome, label, value)


def confirm(chrome: Any, word: str) -> None:
    click(chrome, f"//*[contains(@class, 'q-dialog')]//button[normalize-space()='{word}']")


def see(chrome: Any, selector: str, text: str, timeout_s: float = 30.0) -> None:
    until(lambda: text in words(chrome, selector), timeout_s)
